//! Upstream's figures and our aims. Kubernetes 1.36.1 with etcd 3.6.8 on a 2-core, 24 GiB Debian 12 machine, one etcd
//! member with fsync, one API server, RBAC, no audit. docs/performance.md says how they were taken.

/// What a row is compared with.
#[derive(Debug, Clone, Copy)]
pub struct Reference {
    /// Upstream's value in the row's unit: CPU-ms of API server and etcd for an operation, s, MB or %.
    pub upstream: &'static str,
    /// Upstream's operations a second.
    pub rate: &'static str,
    /// Upstream's p50/p99 in ms.
    pub delay: &'static str,
    /// What we aim at, in the row's unit.
    pub aim: Option<f64>,
}

const CREATE: Option<f64> = Some(0.1);
const GET: Option<f64> = Some(0.035);
const LIST: Option<f64> = Some(20.0);
const WATCH: Option<f64> = Some(0.018);

/// Case, clients (0: does not apply), upstream's value, rate and delay, aim. Loads are of the run on the less busy
/// machine, which is upstream's better one.
type Row = (&'static str, usize, &'static str, &'static str, &'static str, Option<f64>);
const ROWS: &[Row] = &[
    ("dev_ready", 0, "2.1-2.4", "", "", Some(0.25)),
    ("node_ready", 0, "", "", "", Some(3.0)),
    ("idle_rss", 0, "310", "", "", Some(60.0)),
    ("idle_cpu", 0, "2.4", "", "", None),
    ("create_configmap_1k", 1, "1.958", "546", "1.68/5.39", CREATE),
    ("create_configmap_1k", 16, "1.248", "1313", "10.9/32.3", CREATE),
    ("create_configmap_1k", 64, "1.030", "1587", "36.7/94.2", CREATE),
    ("update_configmap_put", 1, "2.328", "471", "1.95/6.46", None),
    ("update_configmap_put", 16, "1.510", "1112", "12.7/39.7", None),
    ("update_configmap_put", 64, "1.302", "1299", "46.5/112", None),
    ("get_configmap", 1, "1.094", "984", "0.95/2.60", GET),
    ("get_configmap", 16, "0.478", "3274", "4.31/20.2", GET),
    ("get_configmap", 64, "0.448", "3508", "17.1/40.2", GET),
    ("create_pod", 16, "1.836", "943", "15.4/42.1", None),
    ("list_pods", 1, "267", "4.1", "235/278", LIST),
    ("list_pods_gzip", 1, "180", "6.5", "143/168", None),
    ("list_pods_table", 1, "163", "7.8", "111/175", None),
    ("list_pods_protobuf", 1, "180", "6.4", "141/224", None),
    ("list_pods_pages_of_500", 1, "300", "3.3", "283/347", None),
    ("patch_pod_status", 16, "3.302", "525", "26.2/79.3", None),
    ("watch_event_500", 1, "0.042", "24749", "23.3/44.2", WATCH),
    ("loaded_rss", 0, "1360-2250", "", "", None),
];

/// The reference of a row, if there is one.
pub fn of(case: &str, clients: usize) -> Reference {
    let row = ROWS.iter().find(|row| row.0 == case && row.1 == clients);
    row.map_or(Reference { upstream: "", rate: "", delay: "", aim: None }, |row| Reference {
        upstream: row.2,
        rate: row.3,
        delay: row.4,
        aim: row.5,
    })
}
