//! Bytes that are kept for long, in exactly the room they need. Giving back the reserve of a vector does not do that: the
//! allocator leaves what is more than half full where it is, so that one byte above a power of two would keep the next
//! one. They are written into a buffer of the thread and copied out of it.

use std::cell::Cell;

use bytes::Bytes;

/// Room that a thread's buffer keeps; what was larger is given back.
const BUFFER_MAX: usize = 64 * 1024;

thread_local! {
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// What is written into an empty buffer.
pub(crate) fn bytes<E>(write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<Bytes, E> {
    // Whoever writes may come here again: it finds no buffer and makes its own.
    let mut buffer = BUFFER.take();
    buffer.clear();
    write(&mut buffer)?;
    let bytes = Bytes::copy_from_slice(&buffer);
    if buffer.capacity() <= BUFFER_MAX {
        BUFFER.set(buffer);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    #[test]
    fn a_buffer_is_empty_for_each_and_may_be_used_within_itself() {
        let outer = bytes(|out| {
            out.extend_from_slice(b"a longer text");
            let inner = bytes(|out| {
                assert!(out.is_empty());
                out.push(b'x');
                Ok::<_, Infallible>(())
            })?;
            out.extend_from_slice(&inner);
            Ok::<_, Infallible>(())
        });
        assert_eq!(outer, Ok(Bytes::from_static(b"a longer textx")));
        assert_eq!(bytes(|_| Err(3)), Err(3));
        assert_eq!(bytes(|_| Ok::<_, Infallible>(())), Ok(Bytes::new()));
    }

    #[test]
    fn a_large_buffer_is_given_back() {
        let large = bytes(|out| {
            out.resize(2 * BUFFER_MAX, 0);
            Ok::<_, Infallible>(())
        });
        assert_eq!(large.map(|bytes| bytes.len()), Ok(2 * BUFFER_MAX));
        assert!(BUFFER.take().capacity() <= BUFFER_MAX);
    }
}
