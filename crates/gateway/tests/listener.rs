//! Real sockets: start, drain, admin endpoints.
