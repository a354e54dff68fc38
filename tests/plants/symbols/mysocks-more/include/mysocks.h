MYSOCKS_API int closeSocket(int channel);
