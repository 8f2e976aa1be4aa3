//! Closed loops: each client sends its next request when the answer to the last one has been read.

use std::time::{Duration, Instant};

use crate::client::{Call, Target};
use ::tests::meter::{Meter, Reading};

/// What a load showed.
#[derive(Debug)]
pub struct Outcome {
    /// CPU time of the server and time passed.
    pub reading: Reading,
    /// Delay of every request, sorted.
    pub delays: Vec<Duration>,
    /// Bytes of all answers.
    pub bytes: usize,
}

/// Sends all calls over `clients` connections, call by call dealt out in turn. Connections are open before the clock runs.
pub async fn closed_loop(
    target: &Target,
    pids: &[u32],
    clients: usize,
    calls: Vec<Call>,
) -> anyhow::Result<Outcome> {
    let mut connections = Vec::with_capacity(clients);
    for _ in 0..clients {
        let mut connection = target.connect().await?;
        connection.send(&Call::get("/version")).await?;
        connections.push((connection, Vec::new()));
    }
    for (index, call) in calls.into_iter().enumerate() {
        connections[index % clients].1.push(call);
    }
    let meter = Meter::start(pids)?;
    let mut tasks = tokio::task::JoinSet::new();
    for (mut connection, calls) in connections {
        tasks.spawn(async move {
            let mut delays = Vec::with_capacity(calls.len());
            let mut bytes = 0;
            for call in &calls {
                let sent = Instant::now();
                bytes += connection.send(call).await?.bytes;
                delays.push(sent.elapsed());
            }
            anyhow::Ok((delays, bytes))
        });
    }
    let (mut delays, mut bytes) = (Vec::new(), 0);
    while let Some(done) = tasks.join_next().await {
        let (more, read) = done??;
        delays.extend(more);
        bytes += read;
    }
    let reading = meter.read()?;
    delays.sort_unstable();
    Ok(Outcome { reading, delays, bytes })
}

/// The delay that `percent` of 100 requests stay below, of sorted delays.
pub fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(index).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_of_a_hundred() {
        let sorted: Vec<Duration> = (1..=100).map(Duration::from_millis).collect();
        assert_eq!(percentile(&sorted, 50), Duration::from_millis(51));
        assert_eq!(percentile(&sorted, 99), Duration::from_millis(100));
        assert_eq!(percentile(&[], 99), Duration::ZERO);
    }
}
