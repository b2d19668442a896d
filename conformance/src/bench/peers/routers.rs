//! Routers on loopback addresses: as many as wanted on one thread, speaking just enough BGP, noting when a withdrawal
//! has been read.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use vc5_bgp::wire::{
    DecodeContext, Decoded, EncodeContext, Family, MAX_LEN, Message, Open, decode, encode, frame,
};

/// The AS of all of them.
pub(super) const ROUTER_AS: u32 = 65000;
/// Proposed by the routers: longer than what anybody else proposes.
const HOLD_TIME: u16 = 240;
const PATIENCE: Duration = Duration::from_secs(30);
/// How often the measuring thread looks, so seldom that it does not compete with what it measures.
const LOOK: Duration = Duration::from_millis(2);
/// Routers in one /24.
const PER_SUBNET: usize = 250;

/// The one thread of all routers.
#[derive(Debug)]
pub(super) struct Thread(Runtime);

/// Routers that belong together.
#[derive(Debug)]
pub(super) struct Routers {
    /// Where they listen.
    pub(super) addresses: Vec<SocketAddr>,
    seen: Arc<[Seen]>,
    epoch: Instant,
}

/// What a router saw last, in nanoseconds since the epoch; zero for nothing.
#[derive(Debug, Default)]
struct Seen {
    announced: AtomicU64,
    withdrawn: AtomicU64,
}

impl Thread {
    pub(super) fn start() -> Result<Self> {
        Ok(Self(Builder::new_multi_thread().worker_threads(1).enable_all().build()?))
    }

    /// Routers on 127.0.`subnet`.1 and the addresses that follow.
    pub(super) fn routers(&self, subnet: u8, count: usize) -> Result<Routers> {
        let seen: Arc<[Seen]> = (0..count).map(|_| Seen::default()).collect();
        let epoch = Instant::now();
        let mut addresses = Vec::with_capacity(count);
        for number in 0..count {
            let (carry, host) = (number / PER_SUBNET, number % PER_SUBNET);
            let address =
                Ipv4Addr::new(127, 0, subnet + u8::try_from(carry)?, 1 + u8::try_from(host)?);
            let listener = self.0.block_on(TcpListener::bind((address, 0)))?;
            addresses.push(listener.local_addr()?);
            let seen = Arc::clone(&seen);
            self.0.spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    // The task ends with the session; what went wrong shows as an arrival that is missing.
                    let seen = Arc::clone(&seen);
                    tokio::spawn(async move {
                        if let Some(seen) = seen.get(number) {
                            let _ = converse(stream, address, seen, epoch).await;
                        }
                    });
                }
            });
        }
        Ok(Routers { addresses, seen, epoch })
    }
}

impl Routers {
    /// Forgets what was seen.
    pub(super) fn forget(&self) {
        for seen in &*self.seen {
            seen.announced.store(0, Ordering::Relaxed);
            seen.withdrawn.store(0, Ordering::Relaxed);
        }
    }

    /// Waits until each has read an announcement.
    pub(super) fn wait_announced(&self) -> Result<()> {
        self.wait("an announcement", |seen| &seen.announced).map(drop)
    }

    /// Waits until each has read a withdrawal; the times since `begin` in microseconds, in order.
    pub(super) fn wait_withdrawn(&self, begin: Instant) -> Result<Vec<f64>> {
        let begin = begin.duration_since(self.epoch).as_secs_f64() * 1e6;
        let mut times = self.wait("a withdrawal", |seen| &seen.withdrawn)?;
        for time in &mut times {
            *time -= begin;
        }
        times.sort_by(f64::total_cmp);
        Ok(times)
    }

    fn wait(&self, what: &str, of: impl Fn(&Seen) -> &AtomicU64) -> Result<Vec<f64>> {
        let end = Instant::now() + PATIENCE;
        loop {
            std::thread::sleep(LOOK);
            let times: Vec<f64> = self
                .seen
                .iter()
                .map(|seen| Duration::from_nanos(of(seen).load(Ordering::Acquire)))
                .filter(|time| !time.is_zero())
                .map(|time| time.as_secs_f64() * 1e6)
                .collect();
            if times.len() == self.seen.len() {
                return Ok(times);
            }
            if Instant::now() > end {
                bail!("{} of {} routers have read {what}", times.len(), self.seen.len());
            }
        }
    }
}

async fn converse(
    mut stream: TcpStream,
    address: Ipv4Addr,
    seen: &Seen,
    epoch: Instant,
) -> Result<()> {
    stream.set_nodelay(true)?;
    let families = vec![Family::IPV4_UNICAST];
    let keepalive = encode(&Message::Keepalive, &EncodeContext::default())?;
    let open = Open::new(ROUTER_AS, HOLD_TIME, address, &families);
    stream.write_all(&encode(&Message::Open(open), &EncodeContext::default())?).await?;
    stream.write_all(&keepalive).await?;
    let families = families.as_slice().into();
    let context = DecodeContext { families, ..DecodeContext::default() };
    let mut buffer = Vec::new();
    loop {
        if stream.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
        let now = u64::try_from(epoch.elapsed().as_nanos())?;
        while let Some(message) = frame(&buffer, MAX_LEN)? {
            let length = message.bytes.len();
            match decode(message, &context)? {
                Decoded::Update(decoded) if decoded.update.withdrawals().next().is_some() => {
                    seen.withdrawn.store(now, Ordering::Release);
                }
                Decoded::Update(decoded) if decoded.end_of_rib.is_none() => {
                    seen.announced.store(now, Ordering::Release);
                }
                Decoded::Keepalive => stream.write_all(&keepalive).await?,
                _ => {}
            }
            buffer.drain(..length);
        }
    }
}
