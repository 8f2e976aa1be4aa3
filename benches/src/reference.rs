//! Upstream's figures and our aims. Kubernetes 1.36.1 with etcd 3.6.8 on a 2-core, 24 GiB Debian 12 machine, one etcd
//! member with fsync, one API server, RBAC, no audit. docs/performance.md says how they were taken.

const WRITE: Option<f64> = Some(0.1);
const STATUS: Option<f64> = Some(0.2);
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
    ("create_configmap_1k", 1, "1.958", "546", "1.68/5.39", WRITE),
    ("create_configmap_1k", 16, "1.248", "1313", "10.9/32.3", WRITE),
    ("create_configmap_1k", 64, "1.030", "1587", "36.7/94.2", WRITE),
    ("update_configmap_put", 1, "2.328", "471", "1.95/6.46", WRITE),
    ("update_configmap_put", 16, "1.510", "1112", "12.7/39.7", WRITE),
    ("update_configmap_put", 64, "1.302", "1299", "46.5/112", WRITE),
    ("get_configmap", 1, "1.094", "984", "0.95/2.60", GET),
    ("get_configmap", 16, "0.478", "3274", "4.31/20.2", GET),
    ("get_configmap", 64, "0.448", "3508", "17.1/40.2", GET),
    ("create_pod", 16, "1.836", "943", "15.4/42.1", None),
    ("list_pods", 1, "267", "4.1", "235/278", LIST),
    ("list_pods_gzip", 1, "180", "6.5", "143/168", LIST),
    ("list_pods_table", 1, "163", "7.8", "111/175", LIST),
    ("list_pods_protobuf", 1, "180", "6.4", "141/224", LIST),
    ("list_pods_pages_of_500", 1, "300", "3.3", "283/347", LIST),
    ("patch_pod_status", 1, "", "", "", STATUS),
    ("patch_pod_status", 16, "3.302", "525", "26.2/79.3", STATUS),
    ("patch_pod_status", 64, "", "", "", STATUS),
    ("watch_event_500", 1, "0.042", "24749", "23.3/44.2", WATCH),
    ("loaded_rss", 0, "1360-2250", "", "", Some(200.0)),
];

/// Upstream's recorded value, rate and delay of a row, and our aim.
pub fn of(case: &str, clients: usize) -> (Option<[&'static str; 3]>, Option<f64>) {
    match ROWS.iter().find(|row| row.0 == case && row.1 == clients) {
        Some(row) => (Some([row.2, row.3, row.4]), row.5),
        None => (None, None),
    }
}
