const struct cfb_transport cfb_tr_carrier = {
        .scheme = "carrier",
};
