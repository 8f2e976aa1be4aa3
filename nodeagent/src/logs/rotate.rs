//! Keeps logs from filling the disk: a file that has grown is renamed and the runtime opens a new one.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::pod::supervisor::Pods;
use crate::runtime::Runtime;

/// A file that is larger is rotated.
const SIZE_MAX: u64 = 10 << 20;
/// Files kept of one container, the present one among them.
const FILES_MAX: usize = 5;
/// How often sizes are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Rotates the logs of running containers until `shutdown`.
pub async fn run(runtime: &dyn Runtime, pods: Pods, shutdown: CancellationToken) {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        for (id, path) in pods.running_logs() {
            if std::fs::metadata(&path).is_ok_and(|metadata| metadata.len() > SIZE_MAX)
                && let Err(error) = rotate(runtime, id, &path, Timestamp::now()).await
            {
                tracing::warn!(%error, log = %path.display(), "a log cannot be rotated");
            }
        }
    }
}

async fn rotate(runtime: &dyn Runtime, id: String, path: &Path, now: Timestamp) -> io::Result<()> {
    let aside = aside(path, now);
    std::fs::rename(path, &aside)?;
    if let Err(error) = runtime.reopen_log(id).await {
        // The runtime goes on with the old file, so it must keep its name.
        std::fs::rename(&aside, path)?;
        return Err(io::Error::other(error));
    }
    remove_oldest(path)
}

/// `0.log` becomes `0.log.20260701-100000`.
fn aside(path: &Path, now: Timestamp) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(now.strftime(".%Y%m%d-%H%M%S").to_string());
    PathBuf::from(name)
}

fn remove_oldest(path: &Path) -> io::Result<()> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
    let prefix = format!("{}.", name.to_string_lossy());
    let mut old: Vec<PathBuf> = std::fs::read_dir(dir)?
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
        .map(|entry| entry.path())
        .collect();
    // The time in the name sorts them.
    old.sort();
    let surplus = old.len().saturating_sub(FILES_MAX - 1);
    old.into_iter().take(surplus).try_for_each(std::fs::remove_file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("0.log");
        for hour in 0..7 {
            std::fs::write(aside(&path, Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_hours(hour)), "")
                .expect("written");
        }
        std::fs::write(dir.path().join("1.log"), "").expect("written");
        remove_oldest(&path).expect("removed");
        let mut names: Vec<String> = std::fs::read_dir(dir.path())
            .expect("readable")
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        assert_eq!(
            names,
            [
                "0.log.19700101-030000",
                "0.log.19700101-040000",
                "0.log.19700101-050000",
                "0.log.19700101-060000",
                "1.log"
            ]
        );
    }
}
