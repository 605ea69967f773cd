//! Both planes in one process, over their real link: mutual TLS on TCP and on the in-process pipe, a real PostgreSQL below.

#[cfg(test)]
mod link;
