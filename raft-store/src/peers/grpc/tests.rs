//! Three members that speak over TLS, and strangers that are not heard.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{Grpc, PEER_NAME, serve};
use crate::peers::{Begin, PeerRequest, Peering, Transport as _, message};
use crate::tests::fixture::{applied, content, put};
use crate::{MemberId, Options, Seams, Store};

/// An authority of peers.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("randomness");
        Self(CertifiedIssuer::self_signed(params, key).expect("a key that signs"))
    }

    fn roots(&self) -> rustls::RootCertStore {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.0.der().clone()).expect("a certificate");
        roots
    }

    fn issue(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let mut params = CertificateParams::new(vec![PEER_NAME.to_owned()]).expect("a name");
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().expect("randomness");
        let certificate = params.signed_by(&key, &self.0).expect("a key that signs");
        (vec![certificate.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).expect("a key"))
    }

    /// Shows a certificate of `self` and trusts `trusted`.
    fn client(&self, trusted: &Self) -> rustls::ClientConfig {
        let (chain, key) = self.issue();
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(trusted.roots())
            .with_client_auth_cert(chain, key)
            .expect("a pair")
    }

    fn server(&self) -> rustls::ServerConfig {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(self.roots()), provider.clone()).build();
        let (chain, key) = self.issue();
        rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_client_cert_verifier(verifier.expect("roots"))
            .with_single_cert(chain, key)
            .expect("a pair")
    }
}

struct Running {
    store: Store,
    address: String,
    stop: CancellationToken,
    _data: tempfile::TempDir,
}

async fn start(authority: &Authority, member: u64, begin: Begin) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    let data = tempfile::tempdir().expect("a writable temporary directory");
    let peering = Peering {
        cluster: "test".into(),
        address: address.as_str().into(),
        transport: Arc::new(Grpc::new(authority.client(authority))),
        begin,
    };
    let options =
        Options { member: MemberId(member), peering: Some(peering), ..Options::in_dir(data.path()) };
    let store = Store::open(options, Seams::system()).await.expect("an empty directory");
    let stop = CancellationToken::new();
    tokio::spawn(serve(store.clone(), listener, authority.server(), stop.clone()));
    Running { store, address, stop, _data: data }
}

fn admission(from: u64, address: &str) -> PeerRequest {
    let envelope = Some(message::Envelope { cluster: "test".into(), from, to: 0 });
    let member = Some(proto::store::Member { id: from, address: address.to_owned() });
    PeerRequest::Admit(message::AdmitRequest { envelope, member })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_members_over_tls() {
    let authority = Authority::new();
    let first = start(&authority, 1, Begin::Found).await;
    let newcomers = join_all([2, 3].map(|member| start(&authority, member, Begin::Join))).await;
    let way = Grpc::new(authority.client(&authority));
    for (newcomer, id) in newcomers.iter().zip(2..) {
        let reply = way.call(MemberId(1), &first.address, admission(id, &newcomer.address)).await;
        let Ok(crate::peers::PeerReply::Admit(reply)) = reply else { panic!("{reply:?}") };
        assert!(reply.admitted);
    }
    let stores = [&first.store, &newcomers[0].store, &newcomers[1].store];
    for (round, writer) in stores.iter().enumerate() {
        applied(writer, put("c", &round.to_string())).await;
        for reader in stores {
            reader.linearizable().await.expect("a leader");
            assert_eq!(content(reader, "c"), Some(round.to_string()));
        }
    }
    // A large object crosses, in the log and in a snapshot.
    let large = "x".repeat(7 << 20);
    applied(stores[1], put("large", &large)).await;
    stores[0].snapshot().await.expect("it runs");
    let late = start(&authority, 4, Begin::Join).await;
    let leader = stores.iter().find(|store| store.term().is_some()).expect("somebody leads");
    leader.admit(MemberId(4), late.address.as_str()).await.expect("it catches up");
    late.store.linearizable().await.expect("a leader");
    assert_eq!(content(&late.store, "large").map(|content| content.len()), Some(large.len()));
    for running in newcomers.into_iter().chain([first, late]) {
        running.store.shutdown().await;
        running.stop.cancel();
    }
}

#[tokio::test]
async fn a_stranger_is_not_heard() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let member = start(&ours, 1, Begin::Found).await;
    let call = |way: Grpc| {
        let address = member.address.clone();
        async move {
            let calling = way.call(MemberId(1), &address, admission(9, "127.0.0.1:1"));
            tokio::time::timeout(Duration::from_secs(10), calling).await.expect("it does not hang")
        }
    };
    // A certificate of another authority, though the stranger trusts ours.
    call(Grpc::new(theirs.client(&ours))).await.expect_err("the certificate is of another authority");
    // A member does not speak to a server of another authority either.
    call(Grpc::new(ours.client(&theirs))).await.expect_err("the server is of another authority");
    assert_eq!(member.store.members().len(), 1);
}

#[tokio::test]
async fn a_member_of_another_cluster_is_refused() {
    let authority = Authority::new();
    let member = start(&authority, 1, Begin::Found).await;
    let PeerRequest::Admit(mut request) = admission(9, "127.0.0.1:1") else { unreachable!() };
    request.envelope.as_mut().expect("made above").cluster = "other".into();
    let way = Grpc::new(authority.client(&authority));
    let reply = way.call(MemberId(1), &member.address, PeerRequest::Admit(request)).await;
    let error = reply.expect_err("it is of another cluster");
    assert!(error.reason.contains("cluster"), "{error}");
    assert!(!error.may_have_arrived);
}
