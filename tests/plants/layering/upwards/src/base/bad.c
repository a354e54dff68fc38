#include "core/endpoint.h"
