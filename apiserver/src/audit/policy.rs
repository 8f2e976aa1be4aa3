//! What is recorded of which request: an audit policy as a pure function over a request's info. The first rule that
//! matches decides.

use crate::request_info::RequestInfo;
use access::UserInfo;
use schema::Tree;

/// How much of a request is recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// Nothing.
    #[default]
    None,
    /// Who, what, when and with which outcome.
    Metadata,
    /// What was sent, too.
    Request,
    /// What was answered, too.
    RequestResponse,
}

/// When in a request's life an event is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    RequestReceived,
    /// A stream has begun.
    ResponseStarted,
    ResponseComplete,
    Panic,
}

const LEVELS: [(&str, Level); 4] = [
    ("None", Level::None),
    ("Metadata", Level::Metadata),
    ("Request", Level::Request),
    ("RequestResponse", Level::RequestResponse),
];
const STAGES: [(&str, Stage); 4] = [
    ("RequestReceived", Stage::RequestReceived),
    ("ResponseStarted", Stage::ResponseStarted),
    ("ResponseComplete", Stage::ResponseComplete),
    ("Panic", Stage::Panic),
];

impl Level {
    pub(crate) fn name(self) -> &'static str {
        LEVELS[self as usize].0
    }
}

impl Stage {
    pub(crate) fn name(self) -> &'static str {
        STAGES[self as usize].0
    }
}

/// What a rule says about a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) level: Level,
    /// By stage.
    omitted: [bool; STAGES.len()],
    pub(crate) omit_managed_fields: bool,
}

impl Decision {
    /// Whether an event is written at a stage.
    pub(crate) fn records(&self, stage: Stage) -> bool {
        self.level > Level::None && !self.omitted[stage as usize]
    }

    /// Omits the stages of a list, too.
    fn omit(&mut self, stages: &Tree) -> Result<(), String> {
        for name in texts(stages) {
            let found = STAGES.iter().find(|(known, _)| *known == name);
            let (_, stage) = found.ok_or_else(|| format!("there is no stage {name:?}"))?;
            self.omitted[*stage as usize] = true;
        }
        Ok(())
    }
}

/// An `audit.k8s.io/v1` Policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Policy {
    rules: Vec<Rule>,
    /// For what no rule matches: nothing is recorded of it.
    rest: Decision,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Rule {
    decision: Decision,
    users: Vec<String>,
    groups: Vec<String>,
    verbs: Vec<String>,
    resources: Vec<Resources>,
    namespaces: Vec<String>,
    paths: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Resources {
    group: String,
    resources: Vec<String>,
    names: Vec<String>,
}

/// Metadata of everything but health and metrics, once each request: what a cluster records unless told otherwise.
const DEFAULT: &str = r#"{
    "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "None", "nonResourceURLs": ["/healthz*", "/livez*", "/readyz*", "/metrics*"]},
        {"level": "Metadata"}
    ]
}"#;

impl Policy {
    /// What is recorded unless a policy is given.
    pub(crate) fn usual() -> Self {
        Self::parse(DEFAULT).expect("the default policy is one")
    }

    /// Reads a policy in YAML or JSON; the error says what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (tree, _) = schema::decode::yaml(text.as_bytes()).map_err(|error| error.to_string())?;
        known(&tree, &["apiVersion", "kind", "metadata", "rules", "omitStages", "omitManagedFields"])?;
        if tree["apiVersion"] != "audit.k8s.io/v1" || tree["kind"] != "Policy" {
            return Err("it is not of kind Policy in audit.k8s.io/v1".into());
        }
        let mut rest = Decision {
            omit_managed_fields: tree["omitManagedFields"].as_bool().unwrap_or_default(),
            ..Decision::default()
        };
        rest.omit(&tree["omitStages"])?;
        let rules: Vec<&Tree> = tree["rules"].as_array().into_iter().flatten().collect();
        if rules.is_empty() {
            return Err("it has no rules".into());
        }
        let read = |(index, rule)| Rule::parse(rule, &rest).map_err(|why| format!("rules[{index}]: {why}"));
        let rules = rules.into_iter().enumerate().map(read).collect::<Result<_, _>>()?;
        Ok(Self { rules, rest })
    }

    /// What is recorded of a request.
    pub(crate) fn decide(&self, user: &UserInfo, info: &RequestInfo) -> &Decision {
        let rule = self.rules.iter().find(|rule| rule.matches(user, info));
        rule.map_or(&self.rest, |rule| &rule.decision)
    }
}

impl Rule {
    fn parse(tree: &Tree, policy: &Decision) -> Result<Self, String> {
        let fields = [
            "level",
            "users",
            "userGroups",
            "verbs",
            "resources",
            "namespaces",
            "nonResourceURLs",
            "omitStages",
            "omitManagedFields",
        ];
        known(tree, &fields)?;
        let name = tree["level"].as_str().unwrap_or_default();
        let level = LEVELS.iter().find(|(known, _)| *known == name);
        let mut decision = *policy;
        decision.omit(&tree["omitStages"])?;
        decision.level = level.ok_or_else(|| format!("there is no level {name:?}"))?.1;
        if let Some(omit) = tree["omitManagedFields"].as_bool() {
            decision.omit_managed_fields = omit;
        }
        let rule = Self {
            decision,
            users: texts(&tree["users"]),
            groups: texts(&tree["userGroups"]),
            verbs: texts(&tree["verbs"]),
            resources: tree["resources"].as_array().into_iter().flatten().map(Resources::parse).collect(),
            namespaces: texts(&tree["namespaces"]),
            paths: texts(&tree["nonResourceURLs"]),
        };
        if !rule.paths.is_empty() && (!rule.resources.is_empty() || !rule.namespaces.is_empty()) {
            return Err("it cannot be about paths and about resources".into());
        }
        Ok(rule)
    }

    fn matches(&self, user: &UserInfo, info: &RequestInfo) -> bool {
        let any =
            |list: &[String], holds: &dyn Fn(&String) -> bool| list.is_empty() || list.iter().any(holds);
        if !any(&self.users, &|name| *name == user.name)
            || !any(&self.groups, &|group| user.in_group(group))
            || !any(&self.verbs, &|verb| *verb == info.verb)
        {
            return false;
        }
        if !self.namespaces.is_empty() || !self.resources.is_empty() {
            return info.is_resource
                && any(&self.namespaces, &|namespace| *namespace == info.namespace)
                && (self.resources.is_empty() || self.resources.iter().any(|some| some.match_(info)));
        }
        self.paths.is_empty()
            || (!info.is_resource && self.paths.iter().any(|path| path_matches(path, &info.path)))
    }
}

impl Resources {
    fn parse(tree: &Tree) -> Self {
        Self {
            group: tree["group"].as_str().unwrap_or_default().to_owned(),
            resources: texts(&tree["resources"]),
            names: texts(&tree["resourceNames"]),
        }
    }

    fn match_(&self, info: &RequestInfo) -> bool {
        if self.group != "*" && self.group != info.group {
            return false;
        }
        let named = self.names.is_empty() || self.names.contains(&info.name);
        let fits = |pattern: &String| {
            let (resource, subresource) =
                pattern.split_once('/').map_or((pattern.as_str(), None), |(all, sub)| (all, Some(sub)));
            match (resource, subresource) {
                ("*", None) => true,
                ("*", Some(sub)) => !info.subresource.is_empty() && sub == info.subresource,
                (resource, Some("*")) => resource == info.resource,
                (resource, sub) => resource == info.resource && sub.unwrap_or_default() == info.subresource,
            }
        };
        self.resources.is_empty() || (named && self.resources.iter().any(fits))
    }
}

fn path_matches(pattern: &str, path: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => path.starts_with(start),
        None => path == pattern,
    }
}

fn texts(tree: &Tree) -> Vec<String> {
    tree.as_array().into_iter().flatten().filter_map(Tree::as_str).map(str::to_owned).collect()
}

/// A field that is spelled wrongly must not silently record less.
fn known(tree: &Tree, fields: &[&str]) -> Result<(), String> {
    let mut keys = tree.as_object().into_iter().flat_map(|object| object.keys());
    match keys.find(|key| !fields.contains(&key.as_str())) {
        Some(key) => Err(format!("there is no field {key:?}")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `verb /path` or `verb namespace group resource[/subresource] name`; `-` is nothing.
    fn request(text: &str) -> RequestInfo {
        let parts: Vec<String> = text.split(' ').map(|part| part.replace('-', "")).collect();
        let [verb, namespace, group, resource, name] = parts.as_slice() else {
            return RequestInfo { verb: parts[0].clone(), path: parts[1].clone(), ..RequestInfo::default() };
        };
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        RequestInfo {
            verb: verb.clone(),
            is_resource: true,
            namespace: namespace.clone(),
            group: group.clone(),
            resource: resource.to_owned(),
            subresource: subresource.to_owned(),
            name: name.clone(),
            ..RequestInfo::default()
        }
    }

    fn check(rules: &str, user: &UserInfo, asked: &str, level: &str) {
        let text = format!("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n{rules}");
        let policy = Policy::parse(&text).expect("a policy");
        assert_eq!(policy.decide(user, &request(asked)).level.name(), level, "{asked} under {rules}");
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let rules = "
- {level: None, users: [quiet]}
- {level: Request, userGroups: [admins], verbs: [delete]}
- {level: RequestResponse, resources: [{group: '', resources: [secrets, pods/*, '*/status'], resourceNames: [a]}]}
- {level: Metadata, namespaces: [kube-system]}
- {level: Metadata, nonResourceURLs: [/api*, /version]}
";
        let user = UserInfo::new("u", &["admins"]);
        check(rules, &UserInfo::new("quiet", &[]), "get default - secrets a", "None");
        check(rules, &user, "delete default apps deployments a", "Request");
        check(rules, &user, "get default - secrets a", "RequestResponse");
        check(rules, &user, "get default - secrets b", "None");
        check(rules, &user, "get default apps secrets a", "None");
        check(rules, &user, "create default - pods/exec a", "RequestResponse");
        check(rules, &user, "update default - services/status a", "RequestResponse");
        check(rules, &user, "get kubesystem - configmaps b", "None");
        check("- {level: Metadata, namespaces: [x]}", &user, "get x - configmaps b", "Metadata");
        check(rules, &user, "get /apis/apps", "Metadata");
        check(rules, &user, "get /version", "Metadata");
        check(rules, &user, "get /versions", "None");
    }

    #[test]
    fn stages_left_out_add_up() {
        let text = "{apiVersion: audit.k8s.io/v1, kind: Policy, omitStages: [RequestReceived],
            rules: [{level: Metadata, omitStages: [Panic], omitManagedFields: true}]}";
        let policy = Policy::parse(text).expect("a policy");
        let decision = policy.decide(&UserInfo::default(), &request("get /version"));
        let recorded = STAGES.map(|(_, stage)| decision.records(stage));
        assert_eq!((recorded, decision.omit_managed_fields), ([false, true, true, false], true));
    }

    #[test]
    fn a_policy_that_could_record_less_than_meant_is_refused() {
        let error = |text: &str| Policy::parse(text).expect_err("refused");
        let with =
            |rule: &str| error(&format!("{{apiVersion: audit.k8s.io/v1, kind: Policy, rules: [{rule}]}}"));
        assert_eq!(error("{apiVersion: v1, kind: Policy}"), "it is not of kind Policy in audit.k8s.io/v1");
        assert_eq!(error("{apiVersion: audit.k8s.io/v1, kind: Policy}"), "it has no rules");
        assert_eq!(with("{level: All}"), "rules[0]: there is no level \"All\"");
        assert_eq!(with("{level: None, user: [a]}"), "rules[0]: there is no field \"user\"");
        assert_eq!(with("{level: None, omitStages: [End]}"), "rules[0]: there is no stage \"End\"");
    }

    #[test]
    fn the_default_policy_leaves_out_probes_only() {
        let policy = Policy::usual();
        let level = |asked: &str| policy.decide(&UserInfo::default(), &request(asked)).level;
        assert_eq!(level("get /readyz/etcd"), Level::None);
        assert_eq!(level("get /version"), Level::Metadata);
        assert_eq!(level("get default - secrets a"), Level::Metadata);
    }
}
