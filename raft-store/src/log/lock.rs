//! One process at a time: a log that another one has open is not opened.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;
use std::time::Duration;

/// An earlier owner in this process may just be going. A log that another process has open is reported after this long.
const WAIT_MAX: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(5);

/// Takes the directory for as long as what it returns is kept.
pub(super) fn take(dir: &Path) -> io::Result<File> {
    let handle = File::open(dir)?;
    patiently(
        dir,
        |error| error.kind() == io::ErrorKind::WouldBlock,
        || {
            handle.try_lock().map_err(|error| match error {
                TryLockError::Error(error) => error,
                TryLockError::WouldBlock => io::ErrorKind::WouldBlock.into(),
            })
        },
    )?;
    Ok(handle)
}

/// Tries until it is not locked any more.
pub(super) fn patiently<T>(
    dir: &Path,
    is_locked: impl Fn(&io::Error) -> bool,
    mut attempt: impl FnMut() -> io::Result<T>,
) -> io::Result<T> {
    let mut waited = Duration::ZERO;
    loop {
        match attempt() {
            Err(error) if is_locked(&error) && waited < WAIT_MAX => {
                std::thread::sleep(PAUSE);
                waited += PAUSE;
            }
            Err(error) if is_locked(&error) => {
                let what = format!("{} is used by another process", dir.display());
                return Err(io::Error::new(io::ErrorKind::ResourceBusy, what));
            }
            done => return done,
        }
    }
}
