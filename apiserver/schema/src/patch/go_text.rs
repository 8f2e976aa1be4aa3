//! Trees as Go's `%v` prints them.

use std::fmt::Write;

use crate::Tree;

/// `map[a:1 b:[x y]]`: how upstream's errors show an untyped tree.
pub fn go_text(tree: &Tree) -> String {
    let mut text = String::new();
    write(tree, &mut text);
    text
}

/// A list of trees, as Go prints a slice.
pub(super) fn go_list(items: &[Tree]) -> String {
    let items: Vec<String> = items.iter().map(go_text).collect();
    format!("[{}]", items.join(" "))
}

fn write(tree: &Tree, text: &mut String) {
    match tree {
        Tree::Null => text.push_str("<nil>"),
        Tree::Bool(flag) => text.push_str(if *flag { "true" } else { "false" }),
        Tree::Number(number) => write_number(number, text),
        Tree::String(string) => text.push_str(string),
        Tree::Array(items) => text.push_str(&go_list(items)),
        Tree::Object(object) => {
            text.push_str("map[");
            for (index, (key, value)) in object.iter().enumerate() {
                if index > 0 {
                    text.push(' ');
                }
                text.push_str(key);
                text.push(':');
                write(value, text);
            }
            text.push(']');
        }
    }
}

/// Go prints a double without a fraction like a whole number, up to a million million million or so.
fn write_number(number: &serde_json::Number, text: &mut String) {
    match number.as_f64() {
        Some(double) if number.is_f64() && double.fract() == 0.0 && double.abs() < 1e21 => {
            write!(text, "{double:.0}")
        }
        _ => write!(text, "{number}"),
    }
    .expect("a string takes any text");
}
