//! Linearizable reads. All that wait share one question to the leader, asked after the last of them came.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::supervisor::Replica;
use crate::error::ReadError;

/// Reads that may wait. Each holds a request of the API, which bounds them too.
const WAITING_MAX: usize = 4096;
/// How long a leader is looked for.
const LEADER_WAIT_MAX: Duration = Duration::from_secs(5);
/// Between two attempts.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

type Answer = oneshot::Sender<Result<(), ReadError>>;

/// Where reads wait. Clones share it.
#[derive(Clone)]
pub(crate) struct ReadGate {
    queue: mpsc::Sender<Answer>,
}

impl ReadGate {
    /// A gate, and the work of opening it.
    pub(crate) fn new() -> (Self, Keeper) {
        let (queue, waiting) = mpsc::channel(WAITING_MAX);
        (Self { queue }, Keeper { waiting })
    }

    /// Returns once everything acknowledged before the call is published here.
    pub(crate) async fn pass(&self) -> Result<(), ReadError> {
        let (answer, receiver) = oneshot::channel();
        self.queue.send(answer).await.map_err(|_| ReadError::Stopped)?;
        receiver.await.unwrap_or(Err(ReadError::Stopped))
    }
}

/// The far end of a [`ReadGate`].
pub(crate) struct Keeper {
    waiting: mpsc::Receiver<Answer>,
}

impl Keeper {
    /// Answers rounds of reads until nobody is left who could read.
    pub(crate) async fn run(mut self, replica: Replica) {
        while let Some(first) = self.waiting.recv().await {
            let mut round = vec![first];
            self.gather(&mut round);
            let result = confirmed(&replica).await;
            if result.is_err() {
                // Who came meanwhile would hear the same, only later.
                self.gather(&mut round);
            }
            for answer in round {
                // Its caller may have gone.
                let _ = answer.send(result.clone());
            }
        }
    }

    fn gather(&mut self, round: &mut Vec<Answer>) {
        while let Ok(next) = self.waiting.try_recv() {
            round.push(next);
        }
    }
}

async fn confirmed(replica: &Replica) -> Result<(), ReadError> {
    let deadline = Instant::now() + LEADER_WAIT_MAX;
    loop {
        match replica.confirm_once(deadline).await {
            Err(ReadError::NoLeader) if Instant::now() < deadline => tokio::time::sleep(RETRY_PAUSE).await,
            result => return result,
        }
    }
}
