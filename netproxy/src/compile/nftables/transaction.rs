//! From one piece to another as nftables commands. The order makes every intermediate reference valid: new chains
//! first, then rules and elements, what is no longer referenced last. The kernel takes all of it or nothing.

use std::fmt::Write as _;

use super::base::{TABLE, words};
use super::piece::Piece;
use crate::model::Family;

/// Commands that turn `old` into `new` in the table of `family`; appended to `script`.
pub fn transaction(script: &mut String, family: Family, old: &Piece, new: &Piece) {
    let table = format!("{} {TABLE}", words(family).ip);
    add_objects(script, &table, old, new);
    change_chains(script, &table, old, new);
    change_elements(script, &table, old, new);
    remove_objects(script, &table, old, new);
}

fn add_objects(script: &mut String, table: &str, old: &Piece, new: &Piece) {
    for (set, definition) in new.sets.iter().filter(|(set, _)| !old.sets.contains_key(*set)) {
        let _ = writeln!(script, "add set {table} {set} {{ {definition} }}");
    }
    for chain in new.chains.keys().filter(|chain| !old.chains.contains_key(*chain)) {
        let _ = writeln!(script, "add chain {table} {chain}");
    }
}

fn change_chains(script: &mut String, table: &str, old: &Piece, new: &Piece) {
    for (chain, rules) in new.chains.iter().filter(|(chain, rules)| old.chains.get(*chain) != Some(rules)) {
        if old.chains.contains_key(chain) {
            let _ = writeln!(script, "flush chain {table} {chain}");
        }
        for rule in rules {
            let _ = writeln!(script, "add rule {table} {chain} {rule}");
        }
    }
}

fn change_elements(script: &mut String, table: &str, old: &Piece, new: &Piece) {
    for ((map, key), verdict) in
        old.verdicts.iter().filter(|(key, verdict)| new.verdicts.get(*key) != Some(verdict))
    {
        let _ = writeln!(script, "delete element {table} {map} {{ {key} : {verdict} }}");
    }
    for ((map, key), verdict) in
        new.verdicts.iter().filter(|(key, verdict)| old.verdicts.get(*key) != Some(verdict))
    {
        let _ = writeln!(script, "add element {table} {map} {{ {key} : {verdict} }}");
    }
    for (set, member) in old.members.difference(&new.members) {
        let _ = writeln!(script, "delete element {table} {set} {{ {member} }}");
    }
    for (set, member) in new.members.difference(&old.members) {
        let _ = writeln!(script, "add element {table} {set} {{ {member} }}");
    }
}

fn remove_objects(script: &mut String, table: &str, old: &Piece, new: &Piece) {
    let gone: Vec<&String> = old.chains.keys().filter(|chain| !new.chains.contains_key(*chain)).collect();
    for chain in &gone {
        let _ = writeln!(script, "flush chain {table} {chain}");
    }
    for chain in &gone {
        let _ = writeln!(script, "delete chain {table} {chain}");
    }
    for set in old.sets.keys().filter(|set| !new.sets.contains_key(*set)) {
        let _ = writeln!(script, "delete set {table} {set}");
    }
}
