//! The whole way of a write: a body in JSON, YAML or protobuf is decoded, completed, checked, patched in three ways, checked
//! again and written in every encoding. Each step alone has a target of its own; here one's output is the next one's input.

use schema::decode::{self, Syntax};
use schema::protobuf::{self, Encoder, MAGIC};
use schema::{Tree, default, patch};

use crate::document::{Kind, two};
use crate::objects::{bytes, conformed, create};

/// What an encoding may add to the bytes of the JSON: indentation of deep trees in YAML, mostly.
const GROWTH_MAX: usize = 64;

/// A body and a patch, of any kind.
pub fn chain(data: &[u8]) {
    let (kind, rest) = Kind::of(data);
    let (body, patch) = two(rest);
    let Some(mut tree) = read(kind, body) else { return };
    complete(kind, &mut tree);
    write(kind, &tree);
    let Some(stored) = create(kind, tree) else { return };
    write(kind, &stored);
    let Ok((patch, _)) = decode::json(patch) else { return };
    let patched = [
        patch::merge(&stored, &patch).ok(),
        patch::strategic(kind.schema, &stored, &patch).ok().and_then(|mut tree| {
            patch::restore(kind.schema, &mut tree).ok()?;
            Some(tree)
        }),
        patch::json(&stored, &patch).ok(),
    ];
    for new in patched.into_iter().flatten() {
        replace(kind, &stored, new);
    }
}

/// A body in whatever it is written in.
fn read(kind: Kind, body: &[u8]) -> Option<Tree> {
    if body.starts_with(&MAGIC) {
        let envelope = protobuf::unwrap(body).ok()?;
        let mut tree = protobuf::decode(&kind.schema.name, envelope.raw).ok()?;
        decode::conform(kind.schema, &mut tree).ok()?;
        let resource = kind.strategy.resource();
        tree["apiVersion"] = resource.api_version().into();
        tree["kind"] = resource.kind.as_str().into();
        return Some(tree);
    }
    let is_json = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
    conformed(kind, if is_json { Syntax::Json } else { Syntax::Yaml }, body)
}

fn complete(kind: Kind, tree: &mut Tree) {
    default::apply(kind.schema, tree);
    kind.strategy.default(tree);
}

fn replace(kind: Kind, stored: &Tree, mut new: Tree) {
    if !new.is_object() || decode::conform(kind.schema, &mut new).is_err() {
        return;
    }
    complete(kind, &mut new);
    for sub in [kinds::Subresource::None, kinds::Subresource::Status] {
        let mut new = new.clone();
        kinds::write::prepare_update(kind.strategy, sub, &mut new, stored);
        kinds::write::validate_update(kind.strategy, sub, &new, stored);
        kind.strategy.warnings(&new, Some(stored));
        write(kind, &new);
    }
}

/// Everything a reader may ask for.
fn write(kind: Kind, tree: &Tree) {
    let json = bytes(tree);
    let mut message = Vec::new();
    let encoder = Encoder::of(&kind.schema.name).expect("a known definition");
    encoder.encode(&json, &mut message).expect("JSON");
    let text = apiserver::untrusted::yaml_of(tree);
    for (encoding, length) in [("protobuf", message.len()), ("YAML", text.len())] {
        assert!(
            length <= (json.len() + 1024) * GROWTH_MAX,
            "{length} bytes of {encoding} out of {}",
            json.len()
        );
    }
    let stored = kind.strategy.to_stored(tree.clone());
    kind.strategy.attributes(&stored);
    kind.strategy.row(&stored, jiff::Timestamp::UNIX_EPOCH);
    kind.strategy.row_conditions(&stored);
    assert!(kind.strategy.from_stored(stored).is_object(), "stored and back");
}
