//! containerd over its Unix socket.
//!
//! Calls carry a deadline each; a broken connection is made again by the channel at the next call.
//! CRI's own event stream is missing before containerd 1.7, so [`Runtime::changed`] listens to containerd's
//! Events service on the same socket; where that is refused, the caller looks once a second.

use std::path::PathBuf;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use proto::containerd::{SubscribeRequest, TaskExit, events_client::EventsClient};
use proto::cri::{
    self as api, image_service_client::ImageServiceClient, runtime_service_client::RuntimeServiceClient,
};
use tokio::net::UnixStream;
use tokio::sync::Notify;
use tonic::transport::{Channel, Endpoint, Uri};

use super::{Answer, ExecOutput, Inventory, Runtime, RuntimeError};

/// Ordinary calls; upstream's default for every runtime request.
const CALL_TIMEOUT: Duration = Duration::from_secs(120);
/// A pull may move gigabytes.
const PULL_TIMEOUT: Duration = Duration::from_secs(3600);
/// A full look at the runtime even when nothing was heard.
const RELIST: Duration = Duration::from_secs(30);
/// How often to look while the event stream is not to be had.
const POLL: Duration = Duration::from_secs(1);
/// The namespace in which CRI keeps its containers.
const NAMESPACE: &str = "k8s.io";

/// A client of the runtime and image services of one socket.
pub struct Cri {
    runtime: RuntimeServiceClient<Channel>,
    images: ImageServiceClient<Channel>,
    channel: Channel,
    heard: std::sync::Arc<Heard>,
}

/// What the event stream has told.
#[derive(Default)]
struct Heard {
    changed: Notify,
    subscribed: std::sync::atomic::AtomicBool,
}

impl Cri {
    /// A client for `endpoint`, a path or a `unix://` URL. Connects at the first call.
    pub fn new(endpoint: &str) -> Self {
        let path = PathBuf::from(endpoint.strip_prefix("unix://").unwrap_or(endpoint));
        let channel = Endpoint::from_static("http://localhost").connect_with_connector_lazy(
            tower::service_fn(move |_: Uri| {
                let path = path.clone();
                async move { UnixStream::connect(path).await.map(TokioIo::new) }
            }),
        );
        let cri = Cri {
            // 16 MiB is what the runtime itself allows for the output of an exec.
            runtime: RuntimeServiceClient::new(channel.clone()).max_decoding_message_size(32 << 20),
            images: ImageServiceClient::new(channel.clone()).max_decoding_message_size(32 << 20),
            channel,
            heard: std::sync::Arc::default(),
        };
        cri.listen();
        cri
    }

    /// Follows containerd's events for as long as the client lives.
    fn listen(&self) {
        let heard = std::sync::Arc::downgrade(&self.heard);
        let channel = self.channel.clone();
        tokio::spawn(async move {
            while let Some(heard) = heard.upgrade() {
                let _ = subscribe(channel.clone(), &heard).await;
                heard.subscribed.store(false, std::sync::atomic::Ordering::Relaxed);
                // Something may have happened between two subscriptions.
                heard.changed.notify_one();
                drop(heard);
                tokio::time::sleep(POLL).await;
            }
        });
    }
}

/// Reads events until the stream ends.
async fn subscribe(channel: Channel, heard: &Heard) -> Result<(), tonic::Status> {
    let filters = ["start", "exit", "oom", "delete"]
        .map(|what| format!("topic==\"/tasks/{what}\",namespace=={NAMESPACE}"))
        .to_vec();
    let mut stream = EventsClient::new(channel).subscribe(SubscribeRequest { filters }).await?.into_inner();
    heard.subscribed.store(true, std::sync::atomic::Ordering::Relaxed);
    while let Some(envelope) = stream.message().await? {
        if !is_exec_exit(&envelope) {
            heard.changed.notify_one();
        }
    }
    Ok(())
}

/// An exec that ended says nothing about the container; exec probes would cause a relist each.
fn is_exec_exit(envelope: &proto::containerd::Envelope) -> bool {
    let Some(event) = envelope.event.as_ref().filter(|_| envelope.topic == "/tasks/exit") else {
        return false;
    };
    let exit = <TaskExit as prost::Message>::decode(event.value.as_slice()).unwrap_or_default();
    exit.id != exit.container_id
}

/// A request with its deadline.
fn within<T>(timeout: Duration, message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(timeout);
    request
}

/// One call on a clone of the client: clients are handles and calls may overlap.
macro_rules! call {
    ($self:ident . $service:ident . $method:ident ( $request:expr ) => |$answer:ident| $map:expr) => {
        call!($self.$service.$method($request), CALL_TIMEOUT => |$answer| $map)
    };
    ($self:ident . $service:ident . $method:ident ( $request:expr ), $timeout:expr => |$answer:ident| $map:expr) => {{
        let mut service = $self.$service.clone();
        let timeout: Duration = $timeout;
        Box::pin(async move {
            let call = service.$method(within(timeout, $request));
            // The deadline in the request is the runtime's; this one holds when the runtime hangs.
            let answer = tokio::time::timeout(timeout + Duration::from_secs(5), call).await;
            let $answer = answer.map_err(|_| late())??.into_inner();
            Ok($map)
        })
    }};
}

fn late() -> RuntimeError {
    RuntimeError { code: tonic::Code::DeadlineExceeded, message: "context deadline exceeded".into() }
}

fn missing(what: &str) -> RuntimeError {
    RuntimeError { code: tonic::Code::Internal, message: format!("the runtime answered without {what}") }
}

impl Runtime for Cri {
    fn version(&self) -> Answer<'_, api::VersionResponse> {
        call!(self.runtime.version(api::VersionRequest { version: "v1".into() }), Duration::from_secs(10) => |answer| answer)
    }

    fn status(&self) -> Answer<'_, api::RuntimeStatus> {
        call!(self.runtime.status(api::StatusRequest { verbose: false }), Duration::from_secs(10) =>
            |answer| answer.status.ok_or_else(|| missing("a status"))?)
    }

    fn inventory(&self, label: (String, String)) -> Answer<'_, Inventory> {
        let mut service = self.runtime.clone();
        Box::pin(async move {
            let labels = std::collections::HashMap::from([label]);
            let filter = api::PodSandboxFilter { label_selector: labels.clone(), ..Default::default() };
            let request = within(CALL_TIMEOUT, api::ListPodSandboxRequest { filter: Some(filter) });
            let sandboxes = service.list_pod_sandbox(request).await?.into_inner().items;
            let filter = api::ContainerFilter { label_selector: labels, ..Default::default() };
            let request = within(CALL_TIMEOUT, api::ListContainersRequest { filter: Some(filter) });
            let containers = service.list_containers(request).await?.into_inner().containers;
            Ok(Inventory { sandboxes, containers })
        })
    }

    fn sandbox_status(&self, id: String) -> Answer<'_, api::PodSandboxStatus> {
        call!(self.runtime.pod_sandbox_status(api::PodSandboxStatusRequest { pod_sandbox_id: id, verbose: false }) =>
            |answer| answer.status.ok_or_else(|| missing("a status"))?)
    }

    fn run_sandbox(&self, config: api::PodSandboxConfig) -> Answer<'_, String> {
        let request = api::RunPodSandboxRequest { config: Some(config), runtime_handler: String::new() };
        call!(self.runtime.run_pod_sandbox(request), 2 * CALL_TIMEOUT => |answer| answer.pod_sandbox_id)
    }

    fn stop_sandbox(&self, id: String) -> Answer<'_, ()> {
        call!(self.runtime.stop_pod_sandbox(api::StopPodSandboxRequest { pod_sandbox_id: id }) => |_answer| ())
    }

    fn remove_sandbox(&self, id: String) -> Answer<'_, ()> {
        call!(self.runtime.remove_pod_sandbox(api::RemovePodSandboxRequest { pod_sandbox_id: id }) => |_answer| ())
    }

    fn create_container(
        &self,
        sandbox: String,
        config: api::ContainerConfig,
        sandbox_config: api::PodSandboxConfig,
    ) -> Answer<'_, String> {
        let request = api::CreateContainerRequest {
            pod_sandbox_id: sandbox,
            config: Some(config),
            sandbox_config: Some(sandbox_config),
        };
        call!(self.runtime.create_container(request) => |answer| answer.container_id)
    }

    fn start_container(&self, id: String) -> Answer<'_, ()> {
        call!(self.runtime.start_container(api::StartContainerRequest { container_id: id }) => |_answer| ())
    }

    fn stop_container(&self, id: String, grace: Duration) -> Answer<'_, ()> {
        let timeout = i64::try_from(grace.as_secs()).unwrap_or(i64::MAX);
        let request = api::StopContainerRequest { container_id: id, timeout };
        call!(self.runtime.stop_container(request), grace.saturating_add(CALL_TIMEOUT) => |_answer| ())
    }

    fn remove_container(&self, id: String) -> Answer<'_, ()> {
        call!(self.runtime.remove_container(api::RemoveContainerRequest { container_id: id }) => |_answer| ())
    }

    fn container_status(&self, id: String) -> Answer<'_, api::ContainerStatus> {
        call!(self.runtime.container_status(api::ContainerStatusRequest { container_id: id, verbose: false }) =>
            |answer| answer.status.ok_or_else(|| missing("a status"))?)
    }

    fn reopen_log(&self, id: String) -> Answer<'_, ()> {
        call!(self.runtime.reopen_container_log(api::ReopenContainerLogRequest { container_id: id }) => |_answer| ())
    }

    fn exec(&self, id: String, command: Vec<String>, timeout: Duration) -> Answer<'_, ExecOutput> {
        let request = api::ExecSyncRequest {
            container_id: id,
            cmd: command,
            timeout: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
        };
        call!(self.runtime.exec_sync(request), timeout.saturating_add(Duration::from_secs(10)) => |answer| ExecOutput {
            exit_code: answer.exit_code,
            stdout: answer.stdout.to_vec(),
            stderr: answer.stderr.to_vec(),
        })
    }

    fn exec_url(&self, request: api::ExecRequest) -> Answer<'_, String> {
        call!(self.runtime.exec(request) => |answer| answer.url)
    }

    fn attach_url(&self, request: api::AttachRequest) -> Answer<'_, String> {
        call!(self.runtime.attach(request) => |answer| answer.url)
    }

    fn port_forward_url(&self, sandbox: String) -> Answer<'_, String> {
        let request = api::PortForwardRequest { pod_sandbox_id: sandbox, port: Vec::new() };
        call!(self.runtime.port_forward(request) => |answer| answer.url)
    }

    fn images(&self) -> Answer<'_, Vec<api::Image>> {
        call!(self.images.list_images(api::ListImagesRequest {}) => |answer| answer.images)
    }

    fn image(&self, name: String) -> Answer<'_, Option<api::Image>> {
        let image = api::ImageSpec { image: name, ..Default::default() };
        let request = api::ImageStatusRequest { image: Some(image), verbose: false };
        call!(self.images.image_status(request) => |answer| answer.image)
    }

    fn pull(&self, name: String, auth: Option<api::AuthConfig>) -> Answer<'_, String> {
        let image = api::ImageSpec { image: name, ..Default::default() };
        let request = api::PullImageRequest { image: Some(image), auth, sandbox_config: None };
        call!(self.images.pull_image(request), PULL_TIMEOUT => |answer| answer.image_ref)
    }

    fn changed(&self) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let heard = std::sync::Arc::clone(&self.heard);
        Box::pin(async move {
            let subscribed = heard.subscribed.load(std::sync::atomic::Ordering::Relaxed);
            let patience = if subscribed { RELIST } else { POLL };
            let _ = tokio::time::timeout(patience, heard.changed.notified()).await;
        })
    }
}
