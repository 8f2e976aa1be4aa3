#!/bin/sh
# A host of its own for the agent's test: network, mounts, containerd, cgroups. Nothing of it reaches the machine.
#   host.sh up DIR | down DIR
# There is no route out of the namespace; `down` kills what is in the host's cgroup and leaves nothing.
set -e
D=$2 CG=kontiki-rig/$(basename "$D") NET=kr-$(basename "$D") MNT=$2/ns/mnt
in_host() { nsenter --net=/run/netns/$NET --mount=$MNT -- "$@"; }
case $1 in
up)
  mkdir -p $D/ns $D/root $D/state $D/log $D/run $D/netns $D/cni/net.d /run/containerd
  mount --bind $D/ns $D/ns; mount --make-private $D/ns
  ip netns add $NET; ip -n $NET link set lo up
  ip -n $NET link add uplink type veth peer name uplink2; ip -n $NET addr add 172.30.0.1/24 dev uplink
  ip -n $NET link set uplink up; ip -n $NET link set uplink2 up
  nsenter --net=/run/netns/$NET sysctl -q -w net.ipv4.ip_forward=1
  touch $MNT; unshare --mount=$MNT --propagation private true
  in_host sh -c "mount --bind $D/netns /run/netns; mount --bind $D/run /run/containerd; mount --make-rshared /"
  cat > $D/config.toml <<J
version = 2
root = "$D/root"
state = "$D/state"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs","io.containerd.snapshotter.v1.btrfs","io.containerd.snapshotter.v1.devmapper","io.containerd.snapshotter.v1.zfs","io.containerd.internal.v1.opt"]
[grpc]
  address = "$D/containerd.sock"
[ttrpc]
  address = "$D/containerd.sock.ttrpc"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "registry.k8s.io/pause:3.6"
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$D/cni/net.d"
    max_conf_num = 1
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
        Root = "$D/runc"
J
  for c in /sys/fs/cgroup/*/; do mkdir -p $c$CG 2>/dev/null || true; done
  # containerd and so its shims live in the host's own cgroup: that is how `down` finds them.
  ( echo $$ > /dev/null; sh -c 'echo $$ > /sys/fs/cgroup/pids/'$CG'/cgroup.procs; exec nsenter --net=/run/netns/'$NET' --mount='$MNT' -- containerd --config '$D'/config.toml' ) >>$D/log/containerd.log 2>&1 &
  for i in $(seq 100); do ctr -a $D/containerd.sock version >/dev/null 2>&1 && break; sleep 0.05; done
  for image in $D/images/*.tar; do ctr -a $D/containerd.sock -n k8s.io images import $image >/dev/null; done ;;
down)
  for i in $(seq 60); do
    p=$(find /sys/fs/cgroup/pids/$CG -name cgroup.procs -exec cat {} + 2>/dev/null || true); [ -n "$p" ] || break
    kill -KILL $p 2>/dev/null || true; sleep .05
  done
  umount $MNT 2>/dev/null || true; umount $D/ns 2>/dev/null || true; ip netns del $NET 2>/dev/null || true
  for c in /sys/fs/cgroup/*/; do find $c$CG -depth -type d -exec rmdir {} \; 2>/dev/null || true; rmdir ${c}kontiki-rig 2>/dev/null || true; done ;;
esac
