//! Ginkgo's JSON report: which test passed, and why another did not.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Deserialize;

/// Characters of a failure that are shown.
const SHOWN: usize = 600;

/// How a test ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Well.
    Passed,
    /// Not, with the suite's message.
    Failed(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Run {
    spec_reports: Vec<Spec>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Spec {
    #[serde(default)]
    container_hierarchy_texts: Option<Vec<String>>,
    leaf_node_type: String,
    leaf_node_text: String,
    state: String,
    #[serde(default)]
    failure: Option<Failure>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Failure {
    message: String,
}

/// The tests that ran, by full name.
pub fn read(path: &Path) -> Result<BTreeMap<String, Outcome>> {
    let text = std::fs::read(path).context("ginkgo's report")?;
    parse(&text)
}

fn parse(text: &[u8]) -> Result<BTreeMap<String, Outcome>> {
    let runs: Vec<Run> = serde_json::from_slice(text).context("ginkgo's report")?;
    let tests = runs.into_iter().flat_map(|run| run.spec_reports);
    Ok(tests.filter(|spec| spec.leaf_node_type == "It").filter_map(outcome).collect())
}

fn outcome(spec: Spec) -> Option<(String, Outcome)> {
    let mut name = spec.container_hierarchy_texts.unwrap_or_default();
    name.push(spec.leaf_node_text);
    let outcome = match spec.state.as_str() {
        "skipped" | "pending" => return None,
        "passed" => Outcome::Passed,
        state => {
            let message = spec.failure.map(|failure| failure.message).unwrap_or_default();
            let short: String = message.chars().take(SHOWN).collect();
            Outcome::Failed(format!("{state}: {short}"))
        }
    };
    Some((name.join(" "), outcome))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_that_was_not_chosen_is_no_outcome() {
        let text = br#"[{"SpecReports": [
            {"ContainerHierarchyTexts": ["[sig-a] A"], "LeafNodeType": "It", "LeafNodeText": "works", "State": "passed"},
            {"ContainerHierarchyTexts": ["[sig-a] A"], "LeafNodeType": "It", "LeafNodeText": "waits", "State": "skipped"},
            {"ContainerHierarchyTexts": ["[sig-a] A"], "LeafNodeType": "It", "LeafNodeText": "breaks", "State": "failed",
             "Failure": {"Message": "expected 1"}},
            {"ContainerHierarchyTexts": null, "LeafNodeType": "BeforeSuite", "LeafNodeText": "", "State": "passed"}]}]"#;
        let outcomes = parse(text).expect("a report");
        let expected = [
            ("[sig-a] A breaks".to_owned(), Outcome::Failed("failed: expected 1".to_owned())),
            ("[sig-a] A works".to_owned(), Outcome::Passed),
        ];
        assert_eq!(outcomes.into_iter().collect::<Vec<_>>(), expected);
    }
}
