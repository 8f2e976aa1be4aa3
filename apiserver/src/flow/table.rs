//! FlowSchemas and priority levels as they lie in the store, read into what a request is compared with. Pure.

use super::queues::Queuing;
use crate::request_info::RequestInfo;
use access::UserInfo;
use kinds::tree::{int_at, list_at, str_at};
use schema::Tree;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// A priority level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Level {
    pub(super) name: String,
    pub(super) uid: String,
    /// `None` is exempt: its requests neither wait nor count.
    pub(super) limited: Option<Limited>,
}

/// What bounds a level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limited {
    pub(super) shares: u32,
    pub(super) lendable_percent: u32,
    pub(super) borrowing_percent: Option<u32>,
    pub(super) queuing: Option<Queuing>,
}

impl Level {
    pub(super) fn read(tree: &Tree) -> Self {
        let limited = (str_at(tree, "spec.type") == "Limited").then(|| {
            let number = |path: &str| int_at(tree, path).and_then(|number| u32::try_from(number).ok());
            let count = |field: &str, unset: usize| {
                let path = format!("spec.limited.limitResponse.queuing.{field}");
                number(&path).and_then(|count| usize::try_from(count).ok()).unwrap_or(unset).max(1)
            };
            let queues = str_at(tree, "spec.limited.limitResponse.type") == "Queue";
            Limited {
                shares: number("spec.limited.nominalConcurrencyShares").unwrap_or(30),
                lendable_percent: number("spec.limited.lendablePercent").unwrap_or(0),
                borrowing_percent: number("spec.limited.borrowingLimitPercent"),
                queuing: queues.then(|| Queuing {
                    queues: count("queues", 64),
                    hand: count("handSize", 8),
                    length_max: count("queueLengthLimit", 50),
                }),
            }
        });
        Self { name: str_at(tree, "metadata.name").into(), uid: str_at(tree, "metadata.uid").into(), limited }
    }
}

/// How flows of one schema are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Distinguisher {
    None,
    User,
    Namespace,
}

/// A FlowSchema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Schema {
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) level: String,
    pub(super) precedence: i64,
    distinguisher: Distinguisher,
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Rule {
    subjects: Vec<Subject>,
    resources: Vec<ResourceRule>,
    paths: Vec<PathRule>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Subject {
    User(String),
    Group(String),
    Account { namespace: String, name: String },
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct ResourceRule {
    verbs: Vec<String>,
    groups: Vec<String>,
    resources: Vec<String>,
    cluster: bool,
    namespaces: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct PathRule {
    verbs: Vec<String>,
    paths: Vec<String>,
}

impl Schema {
    pub(super) fn read(tree: &Tree) -> Self {
        Self {
            name: str_at(tree, "metadata.name").into(),
            uid: str_at(tree, "metadata.uid").into(),
            level: str_at(tree, "spec.priorityLevelConfiguration.name").into(),
            precedence: int_at(tree, "spec.matchingPrecedence").unwrap_or(1000),
            distinguisher: match str_at(tree, "spec.distinguisherMethod.type") {
                "ByUser" => Distinguisher::User,
                "ByNamespace" => Distinguisher::Namespace,
                _ => Distinguisher::None,
            },
            rules: list_at(tree, "spec.rules").iter().map(Rule::read).collect(),
        }
    }

    /// Whether a request is one of its.
    pub(super) fn matches(&self, user: &UserInfo, info: &RequestInfo) -> bool {
        self.rules.iter().any(|rule| rule.matches(user, info))
    }

    /// What tells the request's flow from others of this schema.
    pub(super) fn distinguisher<'a>(&self, user: &'a UserInfo, info: &'a RequestInfo) -> &'a str {
        match self.distinguisher {
            Distinguisher::None => "",
            Distinguisher::User => &user.name,
            Distinguisher::Namespace => &info.namespace,
        }
    }

    /// The flow a request belongs to, as a hash.
    pub(super) fn flow(&self, user: &UserInfo, info: &RequestInfo) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.name, self.distinguisher(user, info)).hash(&mut hasher);
        hasher.finish()
    }
}

impl Rule {
    fn read(tree: &Tree) -> Self {
        Self {
            subjects: list_at(tree, "subjects").iter().filter_map(Subject::read).collect(),
            resources: list_at(tree, "resourceRules").iter().map(ResourceRule::read).collect(),
            paths: list_at(tree, "nonResourceRules").iter().map(PathRule::read).collect(),
        }
    }

    fn matches(&self, user: &UserInfo, info: &RequestInfo) -> bool {
        let about = || {
            if info.is_resource {
                self.resources.iter().any(|rule| rule.matches(info))
            } else {
                self.paths.iter().any(|rule| rule.matches(info))
            }
        };
        self.subjects.iter().any(|subject| subject.matches(user)) && about()
    }
}

impl Subject {
    fn read(tree: &Tree) -> Option<Self> {
        Some(match str_at(tree, "kind") {
            "User" => Self::User(str_at(tree, "user.name").into()),
            "Group" => Self::Group(str_at(tree, "group.name").into()),
            "ServiceAccount" => Self::Account {
                namespace: str_at(tree, "serviceAccount.namespace").into(),
                name: str_at(tree, "serviceAccount.name").into(),
            },
            _ => return None,
        })
    }

    fn matches(&self, user: &UserInfo) -> bool {
        match self {
            Self::User(name) => name == "*" || *name == user.name,
            Self::Group(name) => name == "*" || user.in_group(name),
            Self::Account { namespace, name } => {
                user.as_service_account().is_some_and(|(in_namespace, account)| {
                    namespace == in_namespace && (name == "*" || name == account)
                })
            }
        }
    }
}

impl ResourceRule {
    fn read(tree: &Tree) -> Self {
        Self {
            verbs: texts(tree, "verbs"),
            groups: texts(tree, "apiGroups"),
            resources: texts(tree, "resources"),
            cluster: tree["clusterScope"].as_bool().unwrap_or_default(),
            namespaces: texts(tree, "namespaces"),
        }
    }

    fn matches(&self, info: &RequestInfo) -> bool {
        let resource = || match info.subresource.as_str() {
            "" => holds(&self.resources, &info.resource),
            subresource => self.resources.iter().any(|one| {
                one == "*" || one.split_once('/').is_some_and(|whole| whole == (&*info.resource, subresource))
            }),
        };
        let placed = || {
            if info.namespace.is_empty() { self.cluster } else { holds(&self.namespaces, &info.namespace) }
        };
        holds(&self.verbs, &info.verb) && holds(&self.groups, &info.group) && resource() && placed()
    }
}

impl PathRule {
    fn read(tree: &Tree) -> Self {
        Self { verbs: texts(tree, "verbs"), paths: texts(tree, "nonResourceURLs") }
    }

    fn matches(&self, info: &RequestInfo) -> bool {
        let fits = |pattern: &String| match pattern.strip_suffix('*') {
            Some(start) => info.path.starts_with(start),
            None => *pattern == info.path,
        };
        holds(&self.verbs, &info.verb) && self.paths.iter().any(fits)
    }
}

fn texts(tree: &Tree, field: &str) -> Vec<String> {
    list_at(tree, field).iter().filter_map(Tree::as_str).map(str::to_owned).collect()
}

fn holds(list: &[String], text: &str) -> bool {
    list.iter().any(|one| one == "*" || one == text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::Query;
    use kinds::flowcontrol::bootstrap::shipped;

    /// The schema and level of the shipped objects that a request falls under.
    fn check(user: &UserInfo, method: &str, path: &str, want: &str) {
        let objects = || shipped().iter().map(|shipped| &shipped.object);
        let of = |kind: &'static str| objects().filter(move |object| str_at(object, "kind") == kind);
        let mut schemas: Vec<Schema> = of("FlowSchema").map(Schema::read).collect();
        schemas.sort_by_key(|schema| schema.precedence);
        let levels: Vec<Level> = of("PriorityLevelConfiguration").map(Level::read).collect();
        let info = crate::request_info::parse(method, path, &Query::default());
        let schema = schemas.iter().find(|schema| schema.matches(user, &info)).expect("one catches all");
        let level = levels.iter().find(|level| level.name == schema.level).expect("it exists");
        let word = if level.limited.is_some() { "" } else { " exempt" };
        assert_eq!(format!("{} {}{word}", schema.name, level.name), want, "{method} {path}");
    }

    #[test]
    fn requests_fall_under_the_first_schema_that_matches() {
        let lease = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/a";
        let pods = "/api/v1/namespaces/default/pods";
        let admin = UserInfo::authenticated("admin", &["system:masters"]);
        check(&admin, "GET", pods, "exempt exempt exempt");
        let anonymous = UserInfo::anonymous();
        check(&anonymous, "GET", "/readyz", "probes exempt exempt");
        check(&anonymous, "GET", "/version", "global-default global-default");
        let manager = UserInfo::authenticated("system:kube-controller-manager", &[]);
        check(&manager, "PUT", lease, "system-leader-election leader-election");
        check(&manager, "GET", pods, "kube-controller-manager workload-high");
        check(&UserInfo::node("n1"), "PUT", lease, "system-node-high node-high");
        check(&UserInfo::node("n1"), "GET", pods, "system-nodes system");
        let account = UserInfo::service_account("kube-system", "x", "");
        check(&account, "GET", pods, "kube-system-service-accounts workload-high");
        let account = UserInfo::service_account("default", "x", "");
        check(&account, "GET", pods, "service-accounts workload-low");
        check(&UserInfo::authenticated("jane", &[]), "GET", pods, "global-default global-default");
    }

    #[test]
    fn a_schema_tells_its_flows_apart() {
        let schema = |method: &str| {
            Schema::read(&serde_json::json!({
                "metadata": {"name": "s"}, "spec": {"distinguisherMethod": {"type": method}},
            }))
        };
        let info = |path: &str| crate::request_info::parse("GET", path, &Query::default());
        let (one, two) = (info("/api/v1/namespaces/a/pods"), info("/api/v1/namespaces/b/pods"));
        let (jane, joe) = (UserInfo::new("jane", &[]), UserInfo::new("joe", &[]));
        let (by_user, by_namespace) = (schema("ByUser"), schema("ByNamespace"));
        assert_eq!(by_user.flow(&jane, &one), by_user.flow(&jane, &two));
        assert_ne!(by_user.flow(&jane, &one), by_user.flow(&joe, &one));
        assert_eq!(by_namespace.flow(&jane, &one), by_namespace.flow(&joe, &one));
        assert_ne!(by_namespace.flow(&jane, &one), by_namespace.flow(&jane, &two));
    }
}
