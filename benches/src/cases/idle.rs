//! What does a server cost that nobody uses?

use std::time::Duration;

use super::Subject;
use crate::client::Call;
use crate::table::Table;
use ::tests::meter::{Meter, rss_mb};

/// Everything that begins at start has settled by then.
const SETTLE: Duration = Duration::from_secs(30);
/// Long enough for a figure in hundredths of a percent.
const WATCHED: Duration = Duration::from_secs(20);
/// Both, when only the way is to be shown.
const QUICK: Duration = Duration::from_secs(2);

/// Memory half a minute after /readyz, then CPU over twenty seconds.
pub(super) async fn idle(subject: &Subject, table: &mut Table) -> anyhow::Result<()> {
    // The connection goes: nobody is connected while memory and CPU are read.
    subject.target.connect().await?.send(&Call::get("/readyz")).await?;
    tokio::time::sleep(if subject.quick { QUICK } else { SETTLE }).await;
    table.value("idle_rss", rss_mb(&subject.pids)?, "MB");
    let meter = Meter::start(&subject.pids)?;
    tokio::time::sleep(if subject.quick { QUICK } else { WATCHED }).await;
    let reading = meter.read()?;
    table.value("idle_cpu", reading.cpu_ms / reading.wall.as_secs_f64() / 10.0, "%");
    Ok(())
}
