//! Objects grown from a schema: bytes choose the fields and the values, so that changed bytes make another object and not a
//! text that no longer parses.

use schema::{ListKind, Schema, Shape, Tree};
use serde_json::json;

use crate::document::{Kind, cut};
use crate::mutate::Numbers;
use crate::objects::bytes;
use crate::{objects, patches};

/// Deeper than any kind's fields that do not contain themselves.
const DEPTH_MAX: usize = 12;

/// What fields hold, good and bad; enumerations are hit often enough.
const TEXTS: [&str; 64] = [
    "a",
    "b",
    "c",
    "",
    "a-b",
    "A_B",
    "x y",
    "a.b/c",
    "a/b/c",
    "..",
    "/etc",
    "/",
    "a=b",
    "*",
    "100%",
    "25%",
    "1Gi",
    "500m",
    "-1",
    "0",
    "1e3",
    "2026-01-02T03:04:05Z",
    "2026-01-02T03:04:05.000006Z",
    "YQ==",
    "TCP",
    "UDP",
    "SCTP",
    "Always",
    "Never",
    "OnFailure",
    "IfNotPresent",
    "Exists",
    "DoesNotExist",
    "In",
    "NotIn",
    "Equal",
    "Gt",
    "NoSchedule",
    "NoExecute",
    "ClusterIP",
    "NodePort",
    "LoadBalancer",
    "ExternalName",
    "None",
    "Local",
    "Cluster",
    "IPv4",
    "IPv6",
    "SingleStack",
    "PreferDualStack",
    "10.96.0.1",
    "fd00::1",
    "127.0.0.1",
    "HTTP",
    "ClientIP",
    "RollingUpdate",
    "Recreate",
    "Pod",
    "v1",
    "User",
    "ClusterRole",
    "rbac.authorization.k8s.io",
    "kubernetes.io/service-account-token",
    "\u{fc}\u{0}\u{1f600}",
];
const KEYS: [&str; 10] =
    ["a", "b", "app", "example.com/x", "A", "", "kubernetes.io/os", "cpu", "memory", "example.com/gpu"];
const NUMBERS: [i64; 16] = [
    0,
    1,
    2,
    3,
    30,
    80,
    443,
    8080,
    30_000,
    65_535,
    65_536,
    -1,
    i32::MAX as i64,
    i32::MIN as i64,
    i64::MAX,
    420,
];

/// Two objects of a kind, through bodies, updates and patches.
pub fn objects(data: &[u8]) {
    let (line, _) = cut(data, b"\n");
    let (kind, entropy) = Kind::of(data);
    let (first, second) = entropy.split_at(entropy.len() / 2);
    let (old, new) = (object(kind, first), object(kind, second));
    let alone = [line, b"\n", &bytes(&old)].concat();
    let both = [&alone[..], b"\n----\n", &bytes(&new)].concat();
    objects::body_json(&alone);
    objects::update(&both);
    for target in [patches::merge, patches::strategic, patches::apply] {
        target(&both);
    }
}

/// Any value of a schema; the same bytes give the same one.
pub(crate) fn value(schema: &Schema, entropy: &[u8]) -> Tree {
    Grower { entropy: entropy.iter() }.tree(schema, 0)
}

/// A key of a map.
pub(crate) fn key(numbers: &mut Numbers) -> &'static str {
    KEYS[numbers.below(KEYS.len())]
}

/// What fields hold.
pub fn texts() -> impl Iterator<Item = &'static str> {
    TEXTS.into_iter().chain(KEYS)
}

fn object(kind: Kind, entropy: &[u8]) -> Tree {
    let mut grower = Grower { entropy: entropy.iter() };
    let mut tree = grower.tree(kind.schema, 0);
    let resource = kind.strategy.resource();
    tree["apiVersion"] = json!(resource.api_version());
    tree["kind"] = json!(resource.kind);
    if !tree["metadata"].is_object() {
        tree["metadata"] = json!({});
    }
    tree["metadata"]["name"] = json!("a");
    if resource.namespaced {
        tree["metadata"]["namespace"] = json!("ns");
    }
    tree
}

struct Grower<'a> {
    entropy: std::slice::Iter<'a, u8>,
}

impl Grower<'_> {
    /// A number below a bound; 0 when nothing is left, which ends all growth.
    fn below(&mut self, bound: usize) -> usize {
        let next = usize::from(self.entropy.next().copied().unwrap_or_default());
        if bound > 256 {
            return (next << 8 | usize::from(self.entropy.next().copied().unwrap_or_default())) % bound;
        }
        next % bound.max(1)
    }

    fn text(&mut self) -> Tree {
        json!(TEXTS[self.below(TEXTS.len())])
    }

    fn number(&mut self) -> Tree {
        json!(NUMBERS[self.below(NUMBERS.len())])
    }

    fn tree(&mut self, schema: &Schema, depth: usize) -> Tree {
        if depth > DEPTH_MAX {
            return Tree::Null;
        }
        match &schema.shape {
            Shape::Struct(inner) => self.structure(inner, depth),
            Shape::Map(map) => {
                let entry = |grower: &mut Self| {
                    (KEYS[grower.below(KEYS.len())].to_owned(), grower.tree(&map.value, depth + 1))
                };
                Tree::Object((0..self.below(4)).map(|_| entry(self)).collect())
            }
            Shape::List(list) => {
                let atomic_bonus = usize::from(list.kind == ListKind::Atomic);
                (0..self.below(4) + atomic_bonus).map(|_| self.tree(&list.item, depth + 1)).collect()
            }
            Shape::Boolean => json!(self.below(2) == 1),
            Shape::Integer { .. } | Shape::Number => self.number(),
            Shape::Any | Shape::Embedded => json!({ "kind": self.text(), "a": self.number() }),
            Shape::IntOrString | Shape::Quantity if self.below(2) == 0 => self.number(),
            Shape::Either { object, other } => {
                let chosen = if self.below(2) == 0 { object } else { other };
                self.tree(chosen, depth + 1)
            }
            _ => self.text(),
        }
    }

    /// What is required is nearly always there; of the rest a few.
    fn structure(&mut self, inner: &schema::Struct, depth: usize) -> Tree {
        let mut object = schema::Object::new();
        if self.entropy.len() == 0 {
            return Tree::Object(object);
        }
        for field in inner.fields.iter().filter(|field| field.required || &*field.name == "spec") {
            if self.below(16) != 15 {
                object.insert(String::from(&*field.name), self.tree(&field.child, depth + 1));
            }
        }
        for _ in 0..self.below(5) {
            let field = &inner.fields[self.below(inner.fields.len())];
            object.insert(String::from(&*field.name), self.tree(&field.child, depth + 1));
        }
        Tree::Object(object)
    }
}
