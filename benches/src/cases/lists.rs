//! What does a list of 5,000 pods cost, in each form a client asks for it?

use std::time::Instant;

use anyhow::{Context as _, ensure};

use super::Subject;
use crate::client::{Call, Connection};
use crate::load::{Outcome, closed_loop};
use crate::objects::{NAMESPACE, collection};
use crate::table::Table;
use ::tests::meter::Meter;

/// Lists of a row.
const LISTS: usize = 20;
const LISTS_QUICK: usize = 2;
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
/// Pages a list may have before something must be wrong.
const PAGES_MAX: usize = 1000;

/// Lists all pods of the load.
pub(super) async fn pods(subject: &Subject, table: &mut Table) -> anyhow::Result<()> {
    let plain = Call::get(collection(NAMESPACE, "pods"));
    let forms = [
        ("list_pods", plain.clone()),
        ("list_pods_gzip", Call { gzip: true, ..plain.clone() }),
        ("list_pods_table", Call { accept: TABLE, ..plain.clone() }),
        ("list_pods_protobuf", Call { accept: PROTOBUF, ..plain.clone() }),
    ];
    let count = if subject.quick { LISTS_QUICK } else { LISTS };
    for (case, call) in forms {
        if call.accept != plain.accept {
            // The first in a form that is not the stored one: what a server keeps of it is made now.
            let outcome = closed_loop(&subject.target, &subject.pids, 1, vec![call.clone()]).await?;
            table.load(&format!("{case}_first"), 1, &outcome, 1);
        }
        let outcome = closed_loop(&subject.target, &subject.pids, 1, vec![call; count]).await?;
        row(table, case, &outcome, count);
    }
    let outcome = in_pages(subject, &plain.path, count).await?;
    row(table, "list_pods_pages_of_500", &outcome, count);
    Ok(())
}

fn row(table: &mut Table, case: &str, outcome: &Outcome, count: usize) {
    table.load(case, 1, outcome, count);
    table.note(&format!("{} bytes a list", outcome.bytes / count));
}

/// Follows `continue` to the end, `count` times over.
async fn in_pages(subject: &Subject, path: &str, count: usize) -> anyhow::Result<Outcome> {
    let mut connection = subject.target.connect().await?;
    let meter = Meter::start(&subject.pids)?;
    let (mut delays, mut bytes) = (Vec::new(), 0);
    for _ in 0..count {
        let sent = Instant::now();
        bytes += all_pages(&mut connection, path).await?;
        delays.push(sent.elapsed());
    }
    let reading = meter.read()?;
    delays.sort_unstable();
    Ok(Outcome { reading, delays, bytes })
}

async fn all_pages(connection: &mut Connection, path: &str) -> anyhow::Result<usize> {
    let mut call = Call::get(format!("{path}?limit=500"));
    let mut bytes = 0;
    for _ in 0..PAGES_MAX {
        let answer = connection.send(&call).await?;
        bytes += answer.bytes;
        let head = String::from_utf8_lossy(&answer.head);
        let Some(token) = continue_of(&head) else { return Ok(bytes) };
        ensure!(!token.is_empty(), "an empty continue token");
        call.path = format!("{path}?limit=500&continue={token}");
    }
    Err(anyhow::anyhow!("no end after {PAGES_MAX} pages")).context("listing in pages")
}

/// The continue token in a list's metadata, which precedes its items.
fn continue_of(head: &str) -> Option<&str> {
    let metadata = &head[..head.find("\"items\"").unwrap_or(head.len())];
    metadata.split_once("\"continue\":\"")?.1.split('"').next().filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_stands_before_the_items() {
        assert_eq!(
            continue_of(r#"{"metadata":{"resourceVersion":"7","continue":"abc"},"items":["#),
            Some("abc")
        );
        assert_eq!(continue_of(r#"{"metadata":{},"items":[{"x":{"continue":"abc"}"#), None);
    }
}
