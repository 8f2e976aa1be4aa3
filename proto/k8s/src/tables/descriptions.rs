//! What definitions and fields are for, in upstream's words. The build script collects the texts; they lie compressed in
//! the binary and are unpacked for as long as somebody holds them, since only documents that are made once need them.

use std::io::Read as _;

use flate2::read::GzDecoder;

use super::text::block;

static PACKED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptions.tsv.gz"));

/// Every object has these two, and one definition tells for all what they mean.
const EVERY_OBJECT: (&[&str], &str) =
    (&["apiVersion", "kind"], "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions");
/// What lists have in common is told once.
const EVERY_LIST: (&[&str], &str) = (&["-", "items", "metadata"], "io.k8s.List");

/// The unpacked texts.
pub struct Descriptions {
    table: String,
}

impl Descriptions {
    /// Unpacks the texts: some milliseconds, and less than a mebibyte while they are held.
    pub fn unpack() -> Self {
        let mut table = String::new();
        GzDecoder::new(PACKED).read_to_string(&mut table).expect("the build script packed a text");
        Self { table }
    }

    /// What a field of a definition is for; the field `-` is the definition itself.
    pub fn of(&self, definition: &str, field: &str) -> Option<String> {
        let shared = |(fields, place): (&[&str], &'static str)| fields.contains(&field).then_some(place);
        let list = || shared(EVERY_LIST).filter(|_| definition.ends_with("List"));
        let places = [Some(definition), shared(EVERY_OBJECT), list()];
        places.into_iter().flatten().find_map(|place| self.row(place, field))
    }

    fn row(&self, definition: &str, field: &str) -> Option<String> {
        let row = block(&self.table, &format!("{definition}\t{field}"));
        row.split('\t').nth(2).map(unescaped)
    }
}

fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        plain.push(match character {
            '\\' => match characters.next() {
                Some('n') => '\n',
                Some('t') => '\t',
                other => other.unwrap_or('\\'),
            },
            other => other,
        });
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::super::{definition, definition_names};
    use super::*;

    fn check(definition: &str, field: &str, starts: &str) {
        let text = Descriptions::unpack().of(definition, field).unwrap_or_default();
        assert!(text.starts_with(starts), "{definition} {field}: {text}");
    }

    #[test]
    fn fields_are_told_by_their_name_in_json() {
        check("io.k8s.api.core.v1.PodSpec", "-", "PodSpec is a description of a pod.");
        check("io.k8s.api.core.v1.PodSpec", "dnsPolicy", "Set DNS policy for the pod.");
        check("io.k8s.apimachinery.pkg.util.intstr.IntOrString", "-", "IntOrString is a type");
        check("io.k8s.api.core.v1.Pod", "kind", "Kind is a string value representing the REST resource");
        check("io.k8s.api.core.v1.ObjectReference", "kind", "Kind of the referent.");
        check("io.k8s.api.core.v1.PodList", "items", "List of objects.");
    }

    #[test]
    fn a_text_is_as_upstream_wrote_it() {
        let descriptions = Descriptions::unpack();
        let condition =
            descriptions.of("io.k8s.apimachinery.pkg.apis.meta.v1.Condition", "observedGeneration");
        assert!(condition.is_some_and(|text| text.contains(".status.conditions[x].observedGeneration")));
        let subset = descriptions.of("io.k8s.api.core.v1.EndpointSubset", "-").unwrap_or_default();
        assert!(subset.contains("\n\n\t{\n\t  Addresses: [{\"ip\""), "{subset}");
    }

    #[test]
    fn what_upstream_describes_is_described() {
        let descriptions = Descriptions::unpack();
        let fields = definition_names().flat_map(|name| definition(name).map(move |row| (name, row.name)));
        let (told, silent): (Vec<_>, Vec<_>) =
            fields.partition(|(name, field)| descriptions.of(name, field).is_some());
        assert!(silent.len() * 50 < told.len(), "{silent:?}");
    }
}
