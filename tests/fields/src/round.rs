//! Plays every case on a server: creates while nothing is stored, then the bases are stored and changed.

use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::answer::Answer;
use crate::bases::{self, Base, Target};
use crate::case::{self, Ask, Case};
use crate::peer::{Line, Peer};

/// Requests in flight; both servers have two threads or more to answer them with.
const LINES: usize = 12;

/// An answer and which case it is of.
pub type Answered = (String, Answer);

/// What a base is as a whole: created for good, then its status.
struct Kept<'a> {
    base: &'a Base,
    stored: Value,
}

/// The answers of a server, in the order of the cases.
///
/// # Errors
/// A connection broke, or the objects that the bases need cannot be made.
pub async fn play(peer: &Peer, bases: &[Base]) -> Result<Vec<Answered>> {
    let mut line = peer.line().await?;
    for base in bases::setup()? {
        let answer = store(&mut line, &base).await?;
        if let Some(refusal) = answer.iter().find(|answer| answer.code >= 300 && answer.code != 409) {
            bail!("{}: {}", base.id, refusal.message);
        }
    }
    let cases: Vec<Case<'_>> = bases.iter().flat_map(case::all).collect();
    let (later, first): (Vec<&Case<'_>>, Vec<&Case<'_>>) =
        cases.iter().partition(|case| case.act.needs_stored());
    let asks = first.iter().filter_map(|case| Some((case.id(), case.ask(&Value::Null)?)));
    let mut answers = at_once(peer, asks.collect()).await?;
    let mut kept = Vec::new();
    for base in bases.iter().filter(|base| matches!(base.target, Target::Collection { .. })) {
        for (index, answer) in store(&mut line, base).await?.into_iter().enumerate() {
            answers.push((format!("{} whole {index} -", base.id), answer));
        }
        kept.push(Kept { base, stored: Value::Null });
    }
    // Servers may still write what follows from an object, so they are read once all are there.
    for kept in &mut kept {
        kept.stored = read(&mut line, kept.base).await?;
    }
    let asks = later.iter().filter_map(|case| {
        let stored = kept.iter().find(|kept| kept.base.id == case.base.id);
        Some((case.id(), case.ask(stored.map_or(&Value::Null, |kept| &kept.stored))?))
    });
    answers.extend(at_once(peer, asks.collect()).await?);
    Ok(answers)
}

/// Sends them over several lines.
async fn at_once(peer: &Peer, asks: Vec<(String, Ask)>) -> Result<Vec<Answered>> {
    let asks = Arc::new(asks);
    let mut lines = JoinSet::new();
    for index in 0..LINES {
        lines.spawn(one_line(peer.line().await?, asks.clone(), index));
    }
    let mut answers: Vec<(usize, Answer)> = Vec::new();
    while let Some(line) = lines.join_next().await {
        answers.extend(line??);
    }
    answers.sort_by_key(|(at, _)| *at);
    Ok(answers.into_iter().map(|(at, answer)| (asks[at].0.clone(), answer)).collect())
}

/// Sends every so many-th, beginning with the one of this index.
async fn one_line(
    mut line: Line,
    asks: Arc<Vec<(String, Ask)>>,
    index: usize,
) -> Result<Vec<(usize, Answer)>> {
    let mut answers = Vec::new();
    for at in (index..asks.len()).step_by(LINES) {
        let (id, ask) = &asks[at];
        let answer = line.ask(ask).await.with_context(|| id.clone())?;
        answers.push((at, answer));
    }
    Ok(answers)
}

/// Creates a base for good, and gives it its status.
async fn store(line: &mut Line, base: &Base) -> Result<Vec<Answer>> {
    let Target::Collection { path, has_status } = &base.target else { return Ok(Vec::new()) };
    let media = "application/json";
    let query = "fieldManager=fields";
    let ask = Ask { method: "POST", path: format!("{path}?{query}"), media, body: base.tree.clone() };
    let mut answers = vec![line.ask(&ask).await?];
    if *has_status {
        let mut body = read(line, base).await?;
        body["status"] = base.tree["status"].clone();
        let path = format!("{path}/{}/status?{query}", base.name());
        answers.push(line.ask(&Ask { method: "PUT", path, media, body }).await?);
    }
    Ok(answers)
}

/// The object as it is stored.
async fn read(line: &mut Line, base: &Base) -> Result<Value> {
    let Target::Collection { path, .. } = &base.target else { return Ok(Value::Null) };
    let path = format!("{path}/{}", base.name());
    let ask = Ask { method: "GET", path, media: "application/json", body: Value::Null };
    let answer = line.fetch(&ask).await?;
    Ok(if answer.status().is_success() { serde_json::from_slice(answer.body())? } else { Value::Null })
}
