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

/// A read that waits, and until when.
struct Waiting {
    answer: oneshot::Sender<Result<(), ReadError>>,
    deadline: Instant,
}

/// Where reads wait. Clones share it.
#[derive(Clone)]
pub(crate) struct ReadGate {
    queue: mpsc::Sender<Waiting>,
}

impl ReadGate {
    /// A gate, and the work of opening it.
    pub(crate) fn new() -> (Self, Keeper) {
        let (queue, arriving) = mpsc::channel(WAITING_MAX);
        (Self { queue }, Keeper { arriving })
    }

    /// Returns once everything acknowledged before the call is published here.
    pub(crate) async fn pass(&self) -> Result<(), ReadError> {
        let (answer, receiver) = oneshot::channel();
        let deadline = Instant::now() + LEADER_WAIT_MAX;
        self.queue.send(Waiting { answer, deadline }).await.map_err(|_| ReadError::Stopped)?;
        receiver.await.unwrap_or(Err(ReadError::Stopped))
    }
}

/// The far end of a [`ReadGate`].
pub(crate) struct Keeper {
    arriving: mpsc::Receiver<Waiting>,
}

impl Keeper {
    /// Answers rounds of reads until nobody is left who could read. A round is asked for after the last of its reads
    /// came; one that fails is asked again for those who may still wait, and for who came meanwhile.
    pub(crate) async fn run(mut self, replica: Replica) {
        let mut waiting: Vec<Waiting> = Vec::new();
        loop {
            if waiting.is_empty() {
                let Some(first) = self.arriving.recv().await else { return };
                waiting.push(first);
            }
            while let Ok(next) = self.arriving.try_recv() {
                waiting.push(next);
            }
            let latest = waiting.iter().map(|waiting| waiting.deadline).max().expect("filled above");
            let result = replica.confirm_once(latest).await;
            let now = Instant::now();
            let is_over =
                |waiting: &mut Waiting| result != Err(ReadError::NoLeader) || waiting.deadline <= now;
            for over in waiting.extract_if(.., is_over) {
                // Its caller may have gone.
                let _ = over.answer.send(result.clone());
            }
            if !waiting.is_empty() {
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        }
    }
}
