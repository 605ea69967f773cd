//! A wire that can be cut or can flip a bit: a TCP relay between two processes.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What the wire does to what passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// New connections are closed at once and standing ones are dropped.
    Cut,
    /// Nothing passes any more, and nobody is told: as when packets are dropped on the way. A connection that was silent once
    /// stays so.
    Silent,
    /// The next bytes towards the target have one bit flipped, once.
    FlipTowardsTarget,
    /// The next bytes from the target have one bit flipped, once.
    FlipFromTarget,
}

/// A relay with a fault that the test sets; it stops when dropped.
#[derive(Debug)]
pub struct Wire {
    port: u16,
    fault: watch::Sender<Fault>,
    n_flipped: Arc<Mutex<u64>>,
    running: tokio::task::AbortHandle,
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.fault.send_replace(Fault::Cut);
        self.running.abort();
    }
}

impl Wire {
    /// Relays a free port to `target` (`host:port`).
    pub async fn to(target: &str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("binding the wire")?;
        let port = listener.local_addr()?.port();
        let (fault, seen) = watch::channel(Fault::None);
        let n_flipped = Arc::new(Mutex::new(0));
        let (target, resetting, counting) = (target.to_owned(), fault.clone(), Arc::clone(&n_flipped));
        let running = runtime::tasks::spawn("testkit.wire", async move {
            while let Ok((near, _)) = listener.accept().await {
                if *seen.borrow() == Fault::Cut {
                    continue;
                }
                let Ok(far) = TcpStream::connect(&target).await else { continue };
                let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
                let there = Lane {
                    flip: Fault::FlipTowardsTarget,
                    seen: seen.clone(),
                    reset: resetting.clone(),
                    counting: Arc::clone(&counting),
                };
                let back = Lane { flip: Fault::FlipFromTarget, ..there.clone() };
                runtime::tasks::spawn("testkit.wire.there", there.relay(near_in, far_out));
                runtime::tasks::spawn("testkit.wire.back", back.relay(far_in, near_out));
            }
        })
        .abort_handle();
        Ok(Self { port, fault, n_flipped, running })
    }

    /// Returns the address of the near end, `127.0.0.1:PORT`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Sets what happens from now on.
    pub fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }

    /// Returns how many bits were flipped so far.
    #[must_use]
    pub fn n_flipped(&self) -> u64 {
        *self.n_flipped.lock()
    }
}

#[derive(Clone)]
struct Lane {
    flip: Fault,
    seen: watch::Receiver<Fault>,
    reset: watch::Sender<Fault>,
    counting: Arc<Mutex<u64>>,
}

impl Lane {
    async fn relay(mut self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
        let mut buffer = vec![0_u8; 16 * 1024];
        let mut is_silent = false;
        loop {
            let read = tokio::select! {
                read = from.read(&mut buffer) => read,
                cut = self.seen.wait_for(|fault| *fault == Fault::Cut) => {
                    drop(cut);
                    return;
                }
            };
            let Ok(n) = read else { return };
            if n == 0 {
                return;
            }
            is_silent |= *self.seen.borrow() == Fault::Silent;
            if is_silent {
                continue;
            }
            let is_hit = self.reset.send_if_modified(|fault| {
                let is_hit = *fault == self.flip;
                if is_hit {
                    *fault = Fault::None;
                }
                is_hit
            });
            if is_hit {
                // The middle of what passes: past a record's header, inside its content.
                buffer[n / 2] ^= 0b0000_0100;
                *self.counting.lock() += 1;
            }
            if to.write_all(&buffer[..n]).await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn echoing() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = listener.local_addr().expect("an address").to_string();
        runtime::tasks::spawn("testkit.echo", async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                runtime::tasks::spawn("testkit.echo.connection", async move {
                    let (mut from, mut to) = stream.split();
                    drop(tokio::io::copy(&mut from, &mut to).await);
                });
            }
        });
        address
    }

    async fn round_trip(stream: &mut TcpStream) -> std::io::Result<[u8; 4]> {
        stream.write_all(b"abcd").await?;
        let mut back = [0_u8; 4];
        stream.read_exact(&mut back).await?;
        Ok(back)
    }

    #[tokio::test]
    async fn the_wire_flips_one_bit_once_and_can_be_cut() {
        let wire = Wire::to(&echoing().await).await.expect("a wire");
        let mut stream = TcpStream::connect(wire.address()).await.expect("connects");
        assert_eq!(round_trip(&mut stream).await.expect("passes"), *b"abcd");
        wire.set(Fault::FlipTowardsTarget);
        // The third byte has its third bit flipped: `c` becomes `g`.
        assert_eq!(round_trip(&mut stream).await.expect("passes"), *b"abgd");
        assert_eq!(round_trip(&mut stream).await.expect("passes"), *b"abcd");
        assert_eq!(wire.n_flipped(), 1);
        wire.set(Fault::Cut);
        assert!(round_trip(&mut stream).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_wire_takes_everything_gives_nothing_and_closes_nothing() {
        let wire = Wire::to(&echoing().await).await.expect("a wire");
        let mut stream = TcpStream::connect(wire.address()).await.expect("connects");
        assert_eq!(round_trip(&mut stream).await.expect("passes"), *b"abcd");
        wire.set(Fault::Silent);
        let waiting = tokio::time::timeout(std::time::Duration::from_secs(60), round_trip(&mut stream));
        assert!(waiting.await.is_err(), "neither an answer nor an end");
        wire.set(Fault::None);
        let mut fresh = TcpStream::connect(wire.address()).await.expect("connects");
        assert_eq!(round_trip(&mut fresh).await.expect("passes"), *b"abcd");
    }
}
