//! Sending, on real sockets and a real database: signatures, pauses, several offices, mail.

mod mail;
mod receiver;
mod sending;
mod world;
