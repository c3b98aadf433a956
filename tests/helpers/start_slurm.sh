#!/bin/bash
# A Slurm of this machine alone, for tests: controller and nodes on the loopback device; as root, on Debian, without
# systemd, cgroups or a database. Nothing but what is in its own directory is started, ended or removed.
#
#   start_slurm.sh start DIR [OWNER]   until all nodes are idle; prints "export SLURM_CONF=..."; exit status 3: there are
#                                      no packages to be had
#                                      DIR should be short: sockets are made below it. OWNER: a process id; what was
#                                      started for a process that is gone is ended by the next start beside it
#   start_slurm.sh stop DIR            ends everything, removes DIR
#   start_slurm.sh kill DIR n2         SIGKILL to one node's daemon: a node that is lost
#   start_slurm.sh node DIR n2         starts it again
#
# Environment: SLURM_TEST_NODES (2), SLURM_TEST_CPUS (2, of each), SLURM_TEST_MEM (4000, MiB), SLURM_TEST_GRES ("gpu:1"),
# SLURM_TEST_ARRAY (1001, MaxArraySize).
set -eu
action=$1 D=$2
export SLURM_CONF=$D/slurm.conf
NODES=${SLURM_TEST_NODES:-2} CPUS=${SLURM_TEST_CPUS:-2} MEM=${SLURM_TEST_MEM:-4000} GRES=${SLURM_TEST_GRES-gpu:1}

# A pid file names a living process of the program that it should be: process ids are used again, zombies stay.
alive() {
  local pid program
  [ -s "$1" ] && pid=$(cat "$1") && [ -r "/proc/$pid/status" ] || return 1
  program=$(basename "$1") program=${program%%-*} program=${program%.pid}
  awk -v p="$program" '/^Name:/{n=$2} /^State:/{z=$2} END{exit !(index(n,p)==1 && z!="Z")}' "/proc/$pid/status" 2>/dev/null
}

stop() {  # DIR
  local f i left
  for f in "$1"/slurmd-*.pid "$1"/slurmctld.pid "$1"/munged.pid; do if alive "$f"; then kill "$(cat "$f")" || true; fi; done
  for i in $(seq 100); do
    left=0
    for f in "$1"/slurmd-*.pid "$1"/slurmctld.pid "$1"/munged.pid; do if alive "$f"; then left=1; fi; done
    [ $left = 0 ] && break
    sleep 0.1
  done
  rm -rf "$1"
}

case $action in
  stop) stop "$D"; exit 0 ;;
  kill) kill -KILL "$(cat "$D/slurmd-$3.pid")"; exit 0 ;;
  node) alive "$D/slurmd-$3.pid" || slurmd -N "$3" -f "$SLURM_CONF"; exit 0 ;;
  start) ;;
  *) echo "start_slurm.sh: start, stop, kill or node, not '$action'" >&2; exit 2 ;;
esac

# What a killed run of the tests left.
for other in "$(dirname "$D")"/slurm-test.*; do
  [ -s "$other/owner" ] && [ "$other" != "$D" ] || continue
  [ -d "/proc/$(cat "$other/owner")" ] || stop "$other"
done

installed() { for p in slurmctld slurmd munged sbatch; do command -v "$p" >/dev/null || return 1; done; }
if ! installed; then
  export DEBIAN_FRONTEND=noninteractive
  policy=/usr/sbin/policy-rc.d  # Debian starts the services that it installs; these are not configured
  if [ ! -e $policy ]; then printf '#!/bin/sh\nexit 101\n' >$policy; chmod +x $policy; made=1; fi
  exec 9>/run/slurm-test.apt.lock
  flock 9
  installed || {
    failed() { echo "start_slurm.sh: Slurm is not installed, and apt-get could not do it" >&2; exit 3; }
    install="apt-get install -y -q --no-install-recommends -o DPkg::Lock::Timeout=120 slurmctld slurmd slurm-client munge"
    $install || { apt-get update -q && $install; } || failed
  } >&2
  [ -z "${made:-}" ] || rm -f $policy
  flock -u 9
fi

umask 022
install -d -m 755 "$D" "$D/state" "$D/munge"
install -d -m 700 "$D/key"
echo "${3:-$PPID}" >"$D/owner"
for i in $(seq "$NODES"); do install -d -m 755 "$D/spool-n$i"; done
head -c 1024 /dev/urandom >"$D/key/key"
chmod 400 "$D/key/key"
munged --key-file="$D/key/key" --socket="$D/munge/socket" --pid-file="$D/munged.pid" --log-file="$D/key/munged.log" \
  --seed-file="$D/key/seed" --num-threads=2 --force

# Ports that nobody listens on at the moment, below those that the kernel gives to clients.
free() { for p in $(seq "$1" $(($1 + NODES))); do ! (: <"/dev/tcp/127.0.0.1/$p") 2>/dev/null || return 1; done; }
PORT=$((10000 + ($$ * 13) % 20000))
until free $PORT; do PORT=$((PORT + NODES + 1)); done
HOST=$(hostname -s)
{
  cat <<E
ClusterName=test
SlurmctldHost=$HOST(127.0.0.1)
SlurmctldPort=$PORT
AuthType=auth/munge
AuthInfo=socket=$D/munge/socket
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation=$D/state
SlurmctldPidFile=$D/slurmctld.pid
SlurmctldLogFile=$D/slurmctld.log
SlurmdPidFile=$D/slurmd-%n.pid
SlurmdSpoolDir=$D/spool-%n
SlurmdLogFile=$D/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SwitchType=switch/none
MpiDefault=none
MailProg=/bin/true
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=sched_min_interval=0,batch_sched_delay=0,bf_interval=1
PreemptType=preempt/partition_prio
PreemptMode=CANCEL
ReturnToService=2
SlurmdTimeout=300
MessageTimeout=10
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
KillWait=10
MinJobAge=300
InactiveLimit=0
MaxArraySize=${SLURM_TEST_ARRAY:-1001}
SlurmdParameters=config_overrides
E
  [ -z "$GRES" ] || echo "GresTypes=gpu"
  for i in $(seq "$NODES"); do
    echo "NodeName=n$i NodeHostname=$HOST NodeAddr=127.0.0.1 Port=$((PORT + i)) CPUs=$CPUS Sockets=1 CoresPerSocket=$CPUS" \
      "ThreadsPerCore=1 RealMemory=$MEM ${GRES:+Gres=$GRES }State=UNKNOWN"
  done
  echo "PartitionName=main Nodes=n[1-$NODES] Default=YES MaxTime=INFINITE State=UP DefMemPerCPU=500 PriorityTier=1"
  echo "PartitionName=urgent Nodes=n[1-$NODES] MaxTime=INFINITE State=UP DefMemPerCPU=500 PriorityTier=9"
  echo "PartitionName=short Nodes=n1 MaxTime=10 State=UP DefMemPerCPU=500 PriorityTier=1"
} >"$D/slurm.conf"
[ -z "$GRES" ] || for i in $(seq "$NODES"); do echo "NodeName=n$i Name=gpu File=/dev/null"; done >"$D/gres.conf"

slurmctld -f "$SLURM_CONF"
for i in $(seq "$NODES"); do slurmd -N "n$i" -f "$SLURM_CONF"; done
up=0
for _ in $(seq 250); do
  up=$(sinfo -h -N -p main -o '%T' 2>/dev/null | grep -c '^idle$' || true)
  [ "$up" -ge "$NODES" ] && break
  sleep 0.1
done
if [ "$up" -lt "$NODES" ]; then
  echo "start_slurm.sh: only $up of $NODES nodes are up; the last lines of the logs:" >&2
  tail -n 5 "$D"/*.log >&2
  exit 1
fi
echo "export SLURM_CONF=$SLURM_CONF"
