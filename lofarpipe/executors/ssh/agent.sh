#!/bin/sh
# The agent of a host: starts jobs, and ends them all when it loses contact. Needs only a POSIX shell, the
# usual small programs and Linux's /proc. This text is the start of its standard input, as $text.
#
#   agent TOKEN LIMIT_S GRACE_TENTHS ENV_FILE                     one per host, started by ssh
#   guard TOKEN ORDER GRACE_TENTHS ENV_FILE SHELL RESET NODE SPACE      one per job, started by the agent
#
# The agent reads lines: "in DIRECTORY" of the orders, "run ORDER", "end ORDER", "kill ORDER", "over", and empty
# lines as heartbeats of the runner. It writes "TOKEN ready NODE CORES KIB GPUS", "TOKEN placed", "TOKEN refused
# REASON", "TOKEN began PID START_MS ORDER", "TOKEN done ORDER". ORDER is <step>/<number>.<attempt>; ORDER.sh is the
# job; the removal of ORDER.json withdraws it.
role=$1
token=$2
variable=LOFARPIPE_GUARDED_BY # in the environment of jobs: TOKEN-ATTEMPT marks their processes

say() { printf '%s %s\n' "$token" "$*" >&3; }

marked() { # the live processes of jobs with a matching mark
  for file in $(grep -lsz "^$variable=$1\$" /proc/[0-9]*/environ); do
    file=${file#/proc/}
    printf '%s\n' "${file%/environ}"
  done
}

# SIGTERM, a grace period, SIGKILL. The search runs twice: a process may be between fork and exec.
end_marked() {
  told=' '
  passed=0
  looks=0
  while [ $looks -lt 2 ] && [ $passed -lt $((grace + 100)) ]; do
    looks=$((looks + 1))
    for pid in $(marked "$1"); do
      looks=0
      if [ "$hurry" ] || [ $passed -ge "$grace" ]; then
        kill -s KILL "$pid"
        continue
      fi
      case $told in
      *" $pid "*) ;;
      *) kill -s TERM "$pid" && told="$told$pid " ;;
      esac
    done 2>/dev/null
    sleep 0.1
    passed=$((passed + 1))
  done
}

# ---- the agent

agent() {
  reason=$(refusal)
  [ -z "$reason" ] || refuse "$reason"
  say ready "$node $(cores) $(memory_kb) $(devices)"
  beater=
  set -- # "PID ORDER" of each job
  while line=$(timeout "$limit" sh -c 'IFS= read -r line && printf %s "$line"' 3>&- 4>&-); do
    order=${line#* }
    case $line in
    "")
      for entry do
        shift
        if kill -s 0 "${entry%% *}" 2>/dev/null; then set -- "$@" "$entry"; else tidy_after "${entry#* }" 4>&- & fi
      done
      # Not here: a silent file server must not block the agent.
      kill -s 0 "$beater" 2>/dev/null || { beat "$@" 3>&- 4>&- & beater=$!; } ;;
    in\ *)
      cd -- "$order" 2>/dev/null && [ -w . ] || refuse "$order is not there, or cannot be written"
      say placed ;;
    run\ *)
      $shell -c "$text" "$0" guard "$token" "$order" "$grace" "$env_file" "$shell" "$reset" "$node" "$space" </dev/null 4>&- &
      set -- "$@" "$! $order" ;;
    end\ *) tell TERM "$@" ;;
    kill\ *) tell USR2 "$@" ;;
    over)
      printf 'over\n' >&4
      return ;;
    esac
  done
}

refusal() {
  for program in setsid timeout grep readlink; do
    command -v $program >/dev/null || echo "$program is not installed"
  done
  [ -z "$env_file" ] || [ -r "$env_file" ] || echo "env_file $env_file is not there, or cannot be read"
}

refuse() {
  say refused $1
  printf 'over\n' >&4
  exit
}

cores() { nproc 2>/dev/null || getconf _NPROCESSORS_ONLN; }

memory_kb() {
  while read -r key number _; do
    [ "$key" != MemTotal: ] || echo "$number"
  done </proc/meminfo
}

devices() {
  set -- /dev/nvidia[0-9]*
  [ -e "$1" ] || set --
  echo $#
}

tell() { # a signal to the guard of $order
  number=$1
  shift
  for entry do
    [ "${entry#* }" != "$order" ] || kill -s "$number" "${entry%% *}" 2>/dev/null
  done
}

beat() { # renew the claims; end withdrawn orders
  for entry do
    if [ -e "${entry#* }.json" ]; then touch -c "${entry#* }.claim0"; else kill -s TERM "${entry%% *}"; fi
  done 2>/dev/null
}

tidy_after() { # after a killed guard
  [ -e "$1.json" ] || return 0
  end_marked "$token-${1##*.}"
  . "./$1.sh"
  remove "$tempdir"
  say "done" "$1"
}

watch_over() { # reads the last word of the agent; if it died or lost contact, ends the jobs
  trap '' HUP INT TERM
  read -r last
  [ "$last" = over ] || end_marked "$token-.*"
}

# ---- the guard of one job

guard() {
  over='' ending='' code='' peak_kb=0
  trap over=1 USR1
  trap ending=1 TERM
  trap 'ending=1 hurry=1' USR2
  . "./$order.sh"
  claim || exit
  say began $$ "$start_ms" "$order"
  problem='""'
  if ! [ -d "$workdir" ]; then
    problem=$no_workdir
  elif [ "$tempdir" ] && ! make "$tempdir"; then
    problem=$no_tempdir
  else
    more_files
    run_program
  fi
  [ "$problem" = '""' ] || code=73 # EX_CANTCREAT
  is_lost=false
  if [ "${code:-137}" -gt 128 ]; then
    read_stat
    [ "$parent" = "$PPID" ] || is_lost=true problem='"lost: its host did not hear from this run any more"'
  fi
  remove "$tempdir"
  if [ -e "$order.json" ]; then record; fi
  [ ! -e "$order.part" ] || rm -f "$order.part"
  say "done" "$order"
}

# Functions return texts in a variable: a command substitution costs a process, most of the cost of a short
# job.

read_stat() { # sets $parent and $ticks, the start time of this process
  read -r stat <"/proc/$$/stat"
  set -- ${stat##*)}
  parent=$2 ticks=${20}
}

now() { # sets $now_ms
  now_ms=${EPOCHREALTIME-} # of bash: s with 6 decimals, after a comma in some locales
  if [ "$now_ms" ]; then
    now_ms=${now_ms%[.,]*}${now_ms#*[.,]}
    now_ms=$((now_ms / 1000))
    return
  fi
  now_ms=$(date +%s%N)
  case $now_ms in *[!0-9]*) now_ms=$(date +%s)000000000 ;; esac
  now_ms=$((now_ms / 1000000))
}

claim() { # as in lofarpipe.executors.remote.lease
  now
  start_ms=$now_ms
  read_stat
  read -r boot </proc/sys/kernel/random/boot_id
  printf '{"number": 0, "node": "%s", "pid": %d, "start_s": %d.%03d, "boot": "%s", "space": "%s", "ticks": %s}' \
    "$node" $$ $((start_ms / 1000)) $((start_ms % 1000)) "$boot" "$space" "$ticks" >"$order.part"
  [ ! -e "$order.claim0" ] && mv "$order.part" "$order.claim0" && [ -e "$order.json" ]
}

make() { # a directory for temporary files, without remains of an earlier try
  remove "$1"
  rmdir -- "$1" 2>/dev/null
  mkdir -p -- "${1%/*}" && mkdir -- "$1" && : >"$1/$marker"
}

remove() { [ ! -e "$1/$marker" ] || rm -rf -- "$1"; }

more_files() { # raises the limit of open files, up to 2^17
  most=$(ulimit -H -n)
  case $most in
  unlimited) most=131072 ;;
  *) [ "$most" -le 131072 ] || most=131072 ;;
  esac
  now=$(ulimit -S -n)
  [ "$now" = unlimited ] || [ "$now" -ge "$most" ] || ulimit -S -n "$most"
}

run_program() {
  mark=$variable=$token-$attempt
  (
    (cd -- "$workdir" && program) </dev/null >>"$log" 2>&1 3>&-
    code=$?
    { echo $code; times; } >"$order.part"
    kill -s USR1 $$
  ) &
  wrapper=$!
  tenths=1
  while [ ! "$over" ] && kill -s 0 $wrapper 2>/dev/null; do
    sleep $((tenths / 10)).$((tenths % 10)) >/dev/null 3>&- &
    nap=$!
    wait $nap
    kill $nap 2>/dev/null
    if [ "$ending" ]; then
      ending=
      end_marked "$token-$attempt"
    fi
    [ "$over" ] || sample
    [ $tenths -ge 50 ] || tenths=$((tenths * 2))
  done
  wait $wrapper
  hurry=1
  left=$(marked "$token-$attempt")
  [ -z "$left" ] || end_marked "$token-$attempt" # processes that left the session, or lost their parent
  [ ! -e "$order.part" ] || { read -r code; read -r _; read -r user system; } <"$order.part"
}

sample() { # updates the peak memory of the job's processes
  set -- $wrapper
  while [ $# -gt 0 ]; do
    below=
    for pid do
      below="$below $(cat /proc/"$pid"/task/*/children 2>/dev/null)"
      [ "$pid" = $wrapper ] || while read -r key number _; do
        [ "$key" != VmHWM: ] || [ "$number" -le $peak_kb ] || peak_kb=$number
      done 2>/dev/null <"/proc/$pid/status"
    done
    set -- $below
  done
}

add_cpu() { # adds "1m2.345s", with a comma in some locales, to $cpu_ms
  seconds=${1#*m}
  part=${seconds#*[.,]}00
  part=${part%"${part#???}"}
  cpu_ms=$((cpu_ms + ${1%%m*} * 60000 + ${seconds%%[.,]*} * 1000 + 1$part - 1000))
}

record() {
  code=${code:-137} # the waiting process was killed
  { [ "$code" -le 128 ] || [ "$code" -gt 192 ]; } || code=$((128 - code))
  cpu_ms=0
  add_cpu "${user:-0m0.000s}"
  add_cpu "${system:-0m0.000s}"
  now
  printf '%s"exit_code": %d, "start_s": %d.%03d, "duration_s": %d.%03d, "cpu_s": %d.%03d, "max_rss_mb": %d.%03d, ' \
    "$record" "$code" $((start_ms / 1000)) $((start_ms % 1000)) \
    $(((now_ms - start_ms) / 1000)) $(((now_ms - start_ms) % 1000)) $((cpu_ms / 1000)) $((cpu_ms % 1000)) \
    $((peak_kb * 1024 / 1000000)) $((peak_kb * 1024 / 1000 % 1000)) >"$order.part" &&
    printf '"node": "%s", "problem": %s, "is_lost": %s}}\n' "$node" "$problem" $is_lost >>"$order.part" &&
    mv "$order.part" "$order.record"
}

marker=.temporary-directory-of-a-job
hurry=
case $role in
agent)
  limit=$3 grace=$4 env_file=$5
  case $env_file in "~/"*) env_file=$HOME/${env_file#"~/"} ;; esac
  # bash counts CPU time in ms, dash in 10 ms. Under ssh bash reads .bashrc unless told otherwise.
  shell=$(command -v bash >/dev/null && echo bash --norc || echo sh)
  reset=$(env --default-signal true 2>/dev/null && echo --default-signal) # shells ignore some signals in the background
  node=$(uname -n)
  space=$(readlink /proc/self/ns/pid) # PID namespace
  exec 3>&1
  agent 4>&1 >/dev/null | watch_over >/dev/null 2>&1 3>&- ;;
guard)
  order=$3 grace=$4 env_file=$5 shell=$6 reset=$7 node=$8 space=$9
  guard >/dev/null ;;
esac
