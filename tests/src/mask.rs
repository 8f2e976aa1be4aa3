//! Hides what differs between two good runs (times, uids, revisions, random suffixes, addresses) and nothing else.

use std::sync::LazyLock;

use regex::Regex;

/// Pattern and what stands for it, in order; a later row sees what an earlier one left.
const MASKS: [(&str, &str); 18] = [
    (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "<uid>"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", "<time>"),
    (r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}", "<time>"),
    (r#"("?resourceVersion"?: )"\d+""#, r#"$1"<revision>""#),
    (r"(Resource Version:\s+)\d+", "$1<revision>"),
    (r"kube-api-access-[a-z0-9]{5}", "kube-api-access-<id>"),
    (r"-[bcdf2456789][bcdfghjklmnpqrstvwxz2456789]{6,9}-[bcdfghjklmnpqrstvwxz2456789]{5}\b", "-<hash>-<id>"),
    (r"-[bcdf2456789][bcdfghjklmnpqrstvwxz2456789]{7,9}\b", "-<hash>"),
    (r"(pod-template-hash[=:]\s*)[bcdfghjklmnpqrstvwxz2456789]{7,10}", "$1<hash>"),
    (r"\b10\.244\.\d+\.\d+\b", "<pod-ip>"),
    (r"\b10\.96\.(\d+\.[2-9]|\d+\.\d\d+|[1-9]\d*\.\d+)\b", "<service-ip>"),
    (r"\b172\.30\.0\.\d+\b", "<node-ip>"),
    (r"\b(127\.0\.0\.1|localhost):\d+\b", "<server>"),
    (r"(:|NodePort:\s+\S+\s+|nodePort: )3[0-2]\d{3}\b", "$1<node-port>"),
    (r"\bv1\.36\.\d+(\+\S+)?", "<version>"),
    (r"(containerd://|sha256:)[0-9a-f]{12,64}", "$1<hash>"),
    (r"\(?\b\d+(\.\d+)?(ms|s|m|h|d)(\d+(s|m|h))?\b( ago\)?)?( \(x\d+ over [^)]*\))?", "<age>"),
    (r"[ \t]+$", ""),
];

static COMPILED: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    MASKS
        .iter()
        .map(|(pattern, shown)| (Regex::new(&format!("(?m){pattern}")).expect(pattern), *shown))
        .collect()
});
static COLUMNS: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"(\S) {2,}").expect("a constant pattern"));

/// The masked form of a command's output. Gaps between columns become two blanks: their width follows masked text.
pub fn mask(output: &str) -> String {
    let mut text = output.to_owned();
    for (pattern, shown) in COMPILED.iter() {
        text = pattern.replace_all(&text, *shown).into_owned();
    }
    COLUMNS.replace_all(&text, "$1  ").into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_hidden() {
        for (given, masked) in [
            ("web-7d4b9c6f5d-x2x4z   1/1   Running   0   12s", "web-<hash>-<id>  1/1  Running  0  <age>"),
            (
                "kubernetes   ClusterIP   10.96.0.1   <none>   443/TCP   3m4s",
                "kubernetes  ClusterIP  10.96.0.1  <none>  443/TCP  <age>",
            ),
            (
                "web   ClusterIP   10.96.17.5   <none>   80/TCP",
                "web  ClusterIP  <service-ip>  <none>  80/TCP",
            ),
            ("  uid: 0d9ea7e6-7f4f-4d0a-8d5e-3c8a9c1d2e3f", "  uid: <uid>"),
            ("web-server", "web-server"),
            ("configmap/a created", "configmap/a created"),
            ("replicas: 3", "replicas: 3"),
        ] {
            assert_eq!(mask(given), masked);
        }
    }
}
