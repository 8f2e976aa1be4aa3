//! Reads the table of roles and bindings. It is part of the binary, so a line that cannot be
//! read is a bug and panics; a test reads all of it.

use crate::rbac::Rule;

const TABLE: &str = include_str!("policy.txt");

/// One role or binding.
pub(super) enum Entry {
    Role(Role),
    Binding(Binding),
}

/// A ClusterRole, or a Role when it has a namespace.
pub(super) struct Role {
    pub(super) namespace: Option<String>,
    pub(super) name: String,
    pub(super) rules: Vec<Rule>,
    /// Gathers the roles for this target.
    pub(super) aggregates: Option<String>,
    /// Targets this role is gathered into.
    pub(super) aggregated_to: Vec<String>,
}

/// A ClusterRoleBinding, or a RoleBinding when it has a namespace.
pub(super) struct Binding {
    pub(super) namespace: Option<String>,
    pub(super) name: String,
    pub(super) role: String,
    pub(super) subjects: Vec<SubjectRef>,
}

/// Who is bound.
pub(super) enum SubjectRef {
    User(String),
    Group(String),
    ServiceAccount { namespace: String, name: String },
}

/// Every entry, in the table's order.
pub(super) fn entries() -> Vec<Entry> {
    let mut entries = Vec::new();
    for line in TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(rule) = line.strip_prefix("  ") {
            role_above(&mut entries).rules.push(read_rule(rule));
            continue;
        }
        let (keyword, rest) = line.split_once(' ').expect("a keyword and a name");
        match keyword {
            "role" => entries.push(Entry::Role(read_role(rest))),
            "controller" => {
                entries.push(Entry::Binding(controller_binding(rest)));
                entries.push(Entry::Role(read_role(&format!("system:controller:{rest}"))));
            }
            "bind" => entries.push(Entry::Binding(read_binding(rest))),
            other => panic!("unknown keyword {other} in the table of roles"),
        }
    }
    entries
}

fn role_above(entries: &mut [Entry]) -> &mut Role {
    match entries.last_mut() {
        Some(Entry::Role(role)) => role,
        _ => panic!("a rule without a role in the table of roles"),
    }
}

fn read_role(text: &str) -> Role {
    let mut words = text.split(' ');
    let (namespace, name) = split_namespace(words.next().expect("a name"));
    let mut role = Role { namespace, name, rules: Vec::new(), aggregates: None, aggregated_to: Vec::new() };
    for word in words {
        match word.split_once('=') {
            Some(("aggregates", target)) => role.aggregates = Some(target.to_owned()),
            Some(("for", target)) => role.aggregated_to.push(target.to_owned()),
            _ => panic!("unknown word {word} in the table of roles"),
        }
    }
    role
}

fn controller_binding(name: &str) -> Binding {
    let role = format!("system:controller:{name}");
    let account = SubjectRef::ServiceAccount { namespace: "kube-system".to_owned(), name: name.to_owned() };
    Binding { namespace: None, name: role.clone(), role, subjects: vec![account] }
}

fn read_binding(text: &str) -> Binding {
    let mut words = text.split(' ');
    let (name, role) = match words.next().expect("a name").split_once('=') {
        Some((name, role)) => (name, Some(role)),
        None => (text.split(' ').next().expect("a name"), None),
    };
    let (namespace, name) = split_namespace(name);
    let role = role.map_or_else(|| name.clone(), str::to_owned);
    Binding { namespace, name, role, subjects: words.map(read_subject).collect() }
}

fn read_subject(word: &str) -> SubjectRef {
    match word.split_once(':').expect("kind:name") {
        ("user", name) => SubjectRef::User(name.to_owned()),
        ("group", name) => SubjectRef::Group(name.to_owned()),
        ("serviceaccount", account) => {
            let (namespace, name) = account.split_once('/').expect("namespace/name");
            SubjectRef::ServiceAccount { namespace: namespace.to_owned(), name: name.to_owned() }
        }
        (other, _) => panic!("unknown subject {other} in the table of roles"),
    }
}

fn read_rule(text: &str) -> Rule {
    let mut words = text.split(' ');
    let verbs = read_verbs(words.next().expect("verbs"));
    let scope = words.next().expect("groups or path");
    let rest: Vec<String> = words.map(str::to_owned).collect();
    if scope == "path" {
        return Rule { verbs, non_resource_urls: rest, ..Rule::default() };
    }
    let mut parts = rest.split(|word| word == "named").map(<[String]>::to_vec);
    Rule {
        verbs,
        api_groups: scope
            .split(',')
            .map(|group| if group == "core" { "" } else { group }.to_owned())
            .collect(),
        resources: parts.next().unwrap_or_default(),
        resource_names: parts.next().unwrap_or_default(),
        non_resource_urls: Vec::new(),
    }
}

fn read_verbs(word: &str) -> Vec<String> {
    let verbs = match word {
        "read" => "get,list,watch",
        "write" => "create,delete,deletecollection,patch,update",
        "record" => "create,patch,update",
        "manage" => "create,delete,deletecollection,get,list,patch,update,watch",
        verbs => verbs,
    };
    verbs.split(',').map(str::to_owned).collect()
}

/// `namespace/name`, or a name alone.
fn split_namespace(text: &str) -> (Option<String>, String) {
    match text.split_once('/') {
        Some((namespace, name)) => (Some(namespace.to_owned()), name.to_owned()),
        None => (None, text.to_owned()),
    }
}
