//! The task of one neighbour: waits for whatever concerns it, and lets its [`Driver`] act.

use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::driver::{Driver, Plan, Wake};
use super::shared::{Command, Mailbox, lock};

/// What the others send.
pub(super) struct Inputs {
    pub(super) commands: mpsc::UnboundedReceiver<Command>,
    pub(super) incoming: mpsc::Receiver<TcpStream>,
}

/// Runs until the neighbour is removed or the speaker is shut down.
pub(super) async fn run(driver: Arc<Mutex<Driver>>, mailbox: Arc<Mailbox>, mut inputs: Inputs) {
    let mut plan = lock(&driver).start();
    loop {
        let woken = wait(&driver, &mailbox, &mut inputs, plan).await;
        let Some(next) = lock(&driver).act(woken) else { break };
        plan = next;
    }
    let mut farewells = lock(&driver).farewells();
    while farewells.join_next().await.is_some() {}
}

async fn wait(driver: &Mutex<Driver>, mailbox: &Mailbox, inputs: &mut Inputs, plan: Plan) -> Wake {
    tokio::select! {
        biased;
        command = inputs.commands.recv() => Wake::Command(command),
        () = mailbox.wake.notified() => Wake::Round,
        Some(stream) = inputs.incoming.recv() => Wake::Incoming(stream),
        wake = poll_fn(|cx| lock(driver).poll_sockets(cx)) => wake,
        () = sleep_until(plan.at) => Wake::Round,
        () = tokio::task::yield_now(), if plan.more => Wake::Round,
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
