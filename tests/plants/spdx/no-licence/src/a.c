/* Copyright (c) The confab authors */
