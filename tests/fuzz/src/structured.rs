//! Changes that keep an input well formed: one of its trees is read, one place in it grown anew by its kind's schema, and
//! written again. Bytes changed at random hardly ever get past a parser; these get to what stands behind it.

use schema::decode;
use schema::protobuf::{self, MAGIC};
use schema::{Object, Schema, Shape, Tree};
use serde_json::json;

use crate::document::{Kind, cut};
use crate::grow;
use crate::mutate::Numbers;
use crate::objects::bytes;

/// Between a body and what is done to it.
const LINE: &[u8] = b"\n----\n";

/// What a strategic patch says beside the fields.
const DIRECTIVES: [&str; 4] = ["$patch", "$retainKeys", "$setElementOrder/", "$deleteFromPrimitiveList/"];

/// How deep a change may lie, so that a schema that contains itself ends.
const DEPTH_MAX: usize = 16;

/// A changed input of a target whose first line names a kind; `None` for any other.
pub fn mutate(data: &[u8], numbers: &mut Numbers) -> Option<Vec<u8>> {
    let (line, rest) = cut(data, b"\n");
    let kind = Kind::named(line)?;
    let mut parts: Vec<&[u8]> = vec![rest];
    if rest.windows(LINE.len()).any(|window| window == LINE) {
        let (body, patch) = cut(rest, LINE);
        parts = vec![body, patch];
    }
    let at = numbers.below(parts.len());
    let changed = change_part(kind, parts[at], at > 0, numbers)?;
    parts[at] = &changed;
    // Now and then the same body is one of another kind.
    let all = kinds::all();
    let other = all[numbers.below(all.len())].resource();
    let line = if numbers.below(32) == 0 {
        format!("{} {}", other.api_version(), other.kind).into_bytes()
    } else {
        line.to_vec()
    };
    Some([&line[..], b"\n", &parts.join(LINE)].concat())
}

fn change_part(kind: Kind, part: &[u8], is_patch: bool, numbers: &mut Numbers) -> Option<Vec<u8>> {
    let (mut tree, mut syntax) = if part.starts_with(&MAGIC) {
        let raw = protobuf::unwrap(part).ok()?.raw;
        (protobuf::decode(&kind.schema.name, raw).ok()?, Syntax::Protobuf)
    } else if let Ok((tree, _)) = decode::json(part) {
        (tree, Syntax::Json)
    } else {
        (decode::yaml(part).ok()?.0, Syntax::Yaml)
    };
    for _ in 0..=numbers.below(3) {
        change(&mut tree, kind.schema, is_patch, 0, numbers);
    }
    if numbers.below(8) == 0 {
        syntax = [Syntax::Json, Syntax::Yaml, Syntax::Protobuf][numbers.below(3)];
    }
    Some(match syntax {
        Syntax::Json => bytes(&tree),
        Syntax::Yaml => apiserver::untrusted::yaml_of(&tree).into_bytes(),
        Syntax::Protobuf => {
            let resource = kind.strategy.resource();
            let raw = protobuf::encode(&kind.schema.name, &tree).ok()?;
            protobuf::wrap(&resource.api_version(), &resource.kind, &raw)
        }
    })
}

#[derive(Clone, Copy)]
enum Syntax {
    Json,
    Yaml,
    Protobuf,
}

fn change(tree: &mut Tree, schema: &Schema, is_patch: bool, depth: usize, numbers: &mut Numbers) {
    if depth > DEPTH_MAX {
        return;
    }
    match (&schema.shape, &mut *tree) {
        (Shape::Struct(inner), Tree::Object(object)) if !inner.fields.is_empty() => {
            let known = inner.fields.iter().filter(|field| object.contains_key(&*field.name));
            let known: Vec<_> = known.collect();
            match numbers.below(8) {
                0 | 1 => {
                    let field = &inner.fields[numbers.below(inner.fields.len())];
                    object.insert(field.name.to_string(), grown(&field.child, numbers));
                }
                2 if is_patch => {
                    direct(object, &inner.fields[numbers.below(inner.fields.len())].name, numbers)
                }
                2 if !known.is_empty() => {
                    object.remove(&*known[numbers.below(known.len())].name);
                }
                _ if !known.is_empty() => {
                    let field = known[numbers.below(known.len())];
                    change(&mut object[&*field.name], &field.child, is_patch, depth + 1, numbers);
                }
                _ => {}
            }
        }
        (Shape::List(list), Tree::Array(items)) if !items.is_empty() => {
            let at = numbers.below(items.len());
            match numbers.below(6) {
                0 => items.push(items[at].clone()),
                1 => drop(items.remove(at)),
                2 => items.push(grown(&list.item, numbers)),
                3 => items.rotate_left(at),
                _ => change(&mut items[at], &list.item, is_patch, depth + 1, numbers),
            }
        }
        (Shape::Map(map), Tree::Object(object)) if !object.is_empty() => {
            let key = object.keys().nth(numbers.below(object.len())).cloned().unwrap_or_default();
            match numbers.below(3) {
                0 => drop(object.remove(&key)),
                1 => drop(object.insert(grow::key(numbers).to_owned(), grown(&map.value, numbers))),
                _ => change(&mut object[&key], &map.value, is_patch, depth + 1, numbers),
            }
        }
        (Shape::Either { object, .. }, Tree::Object(_)) => {
            change(tree, object, is_patch, depth + 1, numbers);
        }
        _ if numbers.below(8) == 0 => *tree = Tree::Null,
        _ => *tree = grown(schema, numbers),
    }
}

/// Puts a directive of a strategic patch beside the fields.
fn direct(object: &mut Object, field: &str, numbers: &mut Numbers) {
    let directive = DIRECTIVES[numbers.below(DIRECTIVES.len())];
    let (name, value) = match directive {
        "$patch" => (directive.to_owned(), json!(["delete", "replace", "merge"][numbers.below(3)])),
        "$retainKeys" => (directive.to_owned(), json!([field, "name"])),
        _ => (format!("{directive}{field}"), object.get(field).cloned().unwrap_or_else(|| json!(["a"]))),
    };
    object.insert(name, value);
}

fn grown(schema: &Schema, numbers: &mut Numbers) -> Tree {
    let entropy: Vec<u8> = (0..48).map(|_| numbers.byte()).collect();
    grow::value(schema, &entropy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_is_read_again_and_is_another() {
        let input = b"v1 ConfigMap\n{\"metadata\":{\"name\":\"a\"},\"data\":{\"k\":\"v\"}}\n----\n{\"data\":{\"k\":\"w\"}}";
        let mut numbers = Numbers::new(1);
        let mut others = 0;
        for _ in 0..500 {
            let changed = mutate(input, &mut numbers).expect("a kind and two trees");
            let (line, rest) = cut(&changed, b"\n");
            assert!(Kind::named(line).is_some(), "{}", changed.escape_ascii());
            let (body, _) = cut(rest, LINE);
            let is_read =
                body.starts_with(&MAGIC) || decode::json(body).is_ok() || decode::yaml(body).is_ok();
            assert!(is_read, "{}", changed.escape_ascii());
            others += usize::from(changed != input);
        }
        assert!(others > 400, "{others} of 500 are changed");
        assert_eq!(mutate(b"not a kind", &mut numbers), None);
    }
}
