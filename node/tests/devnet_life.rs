//! The life of a devnet as people meet it: who has its directory, how it ends, what it says, what it leaves behind. Real
//! processes, one network at a time.

use dynemix::devnet::layout::Devnet;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_dynemix");
const PATIENCE: Duration = Duration::from_secs(60);

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A directory of a test, with a home of its own, and the right to have a network.
struct Room {
    directory: tempfile::TempDir,
    _alone: MutexGuard<'static, ()>,
}

impl Room {
    fn new() -> Room {
        let alone = ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        Room { directory: tempfile::tempdir().unwrap(), _alone: alone }
    }

    fn net(&self) -> PathBuf {
        self.directory.path().join("net")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        self.program(PROGRAM, arguments)
    }

    fn program(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).env("XDG_DATA_HOME", self.directory.path()).env_remove("DYNEMIX_DIR");
        command.stdin(Stdio::null());
        command
    }

    /// A verb over the network's directory.
    fn devnet(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let mut command = self.command(&[&["devnet"], arguments].concat());
        said(&command.arg("--dir").arg(self.net()).output().unwrap())
    }

    fn up(&self, arguments: &[&str]) -> Up<'_> {
        let at = |name: &str| self.directory.path().join(name);
        let mut command = self.command(&[&["devnet", "up"], arguments].concat());
        command.arg("--dir").arg(self.net());
        command.stdout(fs::File::create(at("out")).unwrap()).stderr(fs::File::create(at("err")).unwrap());
        Up { child: command.spawn().unwrap(), room: self }
    }

    fn text(&self) -> String {
        let of = |name: &str| fs::read_to_string(self.directory.path().join(name)).unwrap();
        of("out") + &of("err")
    }

    /// Processes of nodes that were started here and are still there.
    fn node_pids(&self) -> Vec<u32> {
        self.pids("\0node\0run\0")
    }

    /// Processes of this verb.
    fn pids(&self, verb: &str) -> Vec<u32> {
        let ours = format!("{}/", self.directory.path().display());
        let is_ours = |pid: &u32| {
            let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let command = String::from_utf8_lossy(&command);
            command.contains(verb) && command.contains(&ours)
        };
        let pids = fs::read_dir("/proc").unwrap().flatten();
        pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(is_ours).collect()
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // Of a test that has failed.
        self.node_pids().into_iter().for_each(|pid| signal(pid, Signal::KILL));
    }
}

fn said(output: &Output) -> (Option<i32>, String) {
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code(), text)
}

fn signal(pid: u32, signal: Signal) {
    let _ = kill_process(Pid::from_raw(pid as i32).unwrap(), signal);
}

/// Whether this process, and so whatever it starts, was told to ignore a signal.
fn is_ignored(signal: Signal) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    u64::from_str_radix(mask.trim(), 16).unwrap() >> (signal.as_raw() - 1) & 1 == 1
}

struct Up<'a> {
    child: Child,
    room: &'a Room,
}

impl Up<'_> {
    /// Waits until what it has said has this in it.
    fn says(&mut self, what: &str) {
        let end = Instant::now() + PATIENCE;
        while !self.room.text().contains(what) {
            let ended = self.child.try_wait().unwrap();
            assert!(Instant::now() < end && ended.is_none(), "never '{what}', {ended:?}: {}", self.room.text());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until so many slots were shown.
    fn shows(&mut self, slots: usize) {
        let end = Instant::now() + PATIENCE;
        let rows = |text: String| text.lines().filter(|line| line.ends_with('%')).count();
        while rows(self.room.text()) < slots {
            let ended = self.child.try_wait().unwrap();
            assert!(Instant::now() < end && ended.is_none(), "{ended:?}: {}", self.room.text());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn signal(&self, which: Signal) {
        signal(self.child.id(), which);
    }

    fn ends(&mut self) -> ExitStatus {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "it does not end: {}", self.room.text());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Up<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const SMALL: [&str; 4] = ["--nodes", "2", "--slot-ms", "1000"];

#[test]
fn a_directory_has_one_up_which_down_ends_and_reset_waits_for() {
    let room = Room::new();
    let mut up = room.up(&SMALL);
    up.shows(1);
    let api = Devnet::read(&room.net()).unwrap().api_address(0).to_string();
    let (code, text) = room.devnet(&[&["up"][..], &SMALL].concat());
    assert_eq!(code, Some(5), "{text}");
    for part in ["runs in", "already, since", &api, " devnet down --dir "] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let (code, text) = room.devnet(&["reset"]);
    assert!(code == Some(5) && text.contains("devnet down"), "{text}");
    assert!(room.net().join("node00/data").exists() && room.node_pids().len() == 2, "nothing was touched");
    let (code, text) = room.devnet(&["down"]);
    assert_eq!((code, text.as_str()), (Some(0), "2 nodes stopped\n"));
    let (status, text) = (up.ends(), room.text());
    assert!(status.success() && text.contains("stopped by `devnet down`"), "{status}: {text}");
    assert!(text.contains("conserved") && !text.contains("NOT") && !text.contains("has ended"), "{text}");
    assert!(room.node_pids().is_empty());
    let (code, text) = room.devnet(&["down"]);
    assert_eq!((code, text.as_str()), (Some(0), "0 nodes stopped\n"));
    assert_eq!(room.devnet(&["reset"]).0, Some(0));
    assert!(!room.net().exists());
}

#[test]
fn nodes_whose_up_was_killed_are_found_and_stopped() {
    let room = Room::new();
    let mut up = room.up(&SMALL);
    up.shows(1);
    up.child.kill().unwrap();
    up.child.wait().unwrap();
    // What they were written down as is of no use to find them.
    let path = room.net().join("devnet.json");
    let mut devnet = Devnet::read(&room.net()).unwrap();
    devnet.pids.clear();
    devnet.save(&room.net()).unwrap();
    assert!(path.exists() && room.node_pids().len() == 2);
    for verb in [&["up", "--nodes", "2", "--slot-ms", "1000"][..], &["reset"]] {
        let (code, text) = room.devnet(verb);
        assert!(code == Some(5) && text.contains("devnet down --dir"), "{code:?} {text}");
    }
    let (_, text) = room.devnet(&["status"]);
    assert!(text.contains("is gone, and 2 nodes left"), "{text}");
    let (code, text) = room.devnet(&["down"]);
    assert_eq!((code, text.as_str()), (Some(0), "2 nodes stopped\n"));
    assert!(room.node_pids().is_empty());
    // It goes on where it was, and whoever closes its terminal or ends it ends its nodes in order.
    // Where this test runs under nohup, so does its `up`, which then goes on whoever hangs up.
    let hears = |which: &Signal| *which != Signal::HUP || !is_ignored(Signal::HUP);
    for which in [Signal::HUP, Signal::TERM].into_iter().filter(hears) {
        let mut up = room.up(&SMALL);
        up.shows(1);
        up.signal(which);
        let (status, text) = (up.ends(), room.text());
        assert!(status.success() && text.contains("equal at height"), "{which:?} {status}: {text}");
        assert!(room.node_pids().is_empty(), "{which:?}");
    }
}

#[test]
fn files_of_others_are_neither_mixed_with_nor_removed() {
    let room = Room::new();
    fs::create_dir(room.net()).unwrap();
    fs::write(room.net().join("thesis.txt"), "mine").unwrap();
    let (code, text) = room.devnet(&["up", "--nodes", "1", "--duration", "1s"]);
    assert!(code == Some(1) && text.contains("is not empty and holds no devnet"), "{code:?} {text}");
    assert_eq!(fs::read_dir(room.net()).unwrap().count(), 1, "nothing was put there");
    let (code, text) = room.devnet(&["reset"]);
    assert!(code == Some(1) && text.contains("holds no devnet"), "{code:?} {text}");
    fs::remove_file(room.net().join("thesis.txt")).unwrap();
    // An empty one is taken; what comes later stays, wherever it is.
    let mut up = room.up(&["--nodes", "1", "--slot-ms", "1000"]);
    up.says("API of the first");
    up.signal(Signal::INT);
    up.ends();
    let own = [room.net().join("thesis.txt"), room.net().join("node00/notes"), room.net().join("node07x/data")];
    fs::create_dir(room.net().join("node07x")).unwrap();
    own.iter().for_each(|path| fs::write(path, "mine").unwrap());
    let (code, text) = room.devnet(&["reset"]);
    assert!(code == Some(0) && text.contains("thesis.txt"), "{code:?} {text}");
    assert!(own.iter().all(|path| path.exists()), "{text}");
    assert!(!room.net().join("node00/data").exists() && !room.net().join("genesis.toml").exists());
    assert!(text.contains("node00/notes") && !text.contains(" removed\n"), "what stays is named: {text}");
    // Of a devnet whose own file is damaged, and with somebody's directory in a file's place.
    own.iter().for_each(|path| drop(fs::remove_file(path)));
    fs::remove_dir_all(room.net()).unwrap();
    let mut up = room.up(&["--nodes", "1", "--slot-ms", "1000"]);
    up.says("API of the first");
    up.signal(Signal::INT);
    up.ends();
    fs::write(room.net().join("devnet.json"), b"\xff\xfe\x00").unwrap();
    fs::remove_file(room.net().join("env")).unwrap();
    fs::create_dir(room.net().join("env")).unwrap();
    let (code, text) = room.devnet(&["reset"]);
    assert!(code == Some(0) && text.contains("/env"), "{code:?} {text}");
    assert!(!room.net().join("devnet.json").exists() && !room.net().join("node00").exists());
}

#[test]
fn an_interrupted_start_raises_no_alarm() {
    let room = Room::new();
    for wait_ms in [30, 150, 400, 1_200] {
        let mut up = room.up(&SMALL);
        std::thread::sleep(Duration::from_millis(wait_ms));
        up.signal(Signal::INT);
        let (status, text) = (up.ends(), room.text());
        // Whoever is told before it listens ends as any program does.
        let early = wait_ms < 100 && status.code().is_none();
        assert!(status.success() || early, "{wait_ms} ms, {status}: {text}");
        assert!(!text.contains("DIFFERENT") && !text.contains("NOT CONSERVED"), "{wait_ms} ms: {text}");
        assert!(room.node_pids().is_empty(), "{wait_ms} ms");
    }
}

#[test]
fn nobody_who_reads_and_no_room_to_write_end_it_in_order() {
    let room = Room::new();
    let run = format!("{PROGRAM} devnet up --nodes 2 --slot-ms 1000 --dir {}", room.net().display());
    let shell = |line: &str| said(&room.program("bash", &["-c", line]).output().unwrap());
    let (_, text) = shell(&format!("{run} | head -3; echo code ${{PIPESTATUS[0]}}"));
    assert!(text.contains("code 0") && !text.contains("panicked"), "{text}");
    assert!(room.node_pids().is_empty());
    let (_, text) = shell(&format!("{run} > /dev/full; echo code $?"));
    assert!(text.contains("code 4") && text.contains("standard output") && !text.contains("panicked"), "{text}");
    let (_, text) = shell(&format!("timeout -s INT 4 {run} 2> /dev/full; echo code $?"));
    assert!(text.contains("code 124") && text.contains("verdict"), "{text}");
    assert!(room.node_pids().is_empty());
    for verb in ["status", "logs", "down"] {
        let line = format!("{PROGRAM} devnet {verb} --dir {} > /dev/full; echo code $?", room.net().display());
        let (_, text) = shell(&line);
        assert!(text.contains("code 4") && !text.contains("panicked"), "{verb}: {text}");
    }
}

/// Moments at which a terminal is killed, milliseconds after what runs in it.
const MOMENTS_MS: [u64; 10] = [10, 40, 90, 180, 350, 600, 1_000, 1_600, 2_400, 3_500];

#[test]
fn a_terminal_that_is_killed_at_any_moment_leaves_no_node_behind_and_the_next_up_goes_on() {
    let room = Room::new();
    for moment_ms in MOMENTS_MS {
        let line = format!("{PROGRAM} devnet up --nodes 2 --slot-ms 500 --dir {}", room.net().display());
        let mut terminal = room.program("script", &["-qec", &line, "/dev/null"]);
        let mut terminal = terminal.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(moment_ms));
        terminal.kill().unwrap();
        terminal.wait().unwrap();
        let end = Instant::now() + Duration::from_secs(20);
        let left = || [room.pids("\0devnet\0up\0"), room.node_pids()].concat();
        while !left().is_empty() {
            assert!(Instant::now() < end, "killed after {moment_ms} ms: {:?}", left());
            std::thread::sleep(Duration::from_millis(50));
        }
        for node in 0..2 {
            let log = fs::read_to_string(room.net().join(format!("node0{node}/screen.log"))).unwrap_or_default();
            assert!(!log.contains("panicked"), "killed after {moment_ms} ms: {log}");
        }
    }
    let mut up = room.up(&["--nodes", "2", "--slot-ms", "500"]);
    up.shows(2);
    up.signal(Signal::INT);
    let (status, text) = (up.ends(), room.text());
    assert!(status.success() && text.contains("equal at height"), "{status}: {text}");
}

#[test]
fn a_reader_who_is_slow_holds_up_no_node() {
    let room = Room::new();
    let net = room.net();
    let mut command = room.command(&["devnet", "up", "--nodes", "2", "--slot-ms", "500", "--duration", "6s", "--dir"]);
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut child = command.arg(&net).stdout(writer).stderr(Stdio::null()).spawn().unwrap();
    drop(command);
    let (mut text, mut bytes) = (Vec::new(), [0; 16]);
    while let Ok(read @ 1..) = std::io::Read::read(&mut reader, &mut bytes) {
        text.extend_from_slice(&bytes[..read]);
        std::thread::sleep(Duration::from_millis(40));
    }
    let (status, text) = (child.wait().unwrap(), String::from_utf8_lossy(&text).into_owned());
    assert!(status.success() && text.contains("equal at height") && !text.contains("LOST"), "{status}: {text}");
}

#[test]
fn wrong_flags_are_named_and_nothing_is_done() {
    let room = Room::new();
    for (flags, named) in [
        (&["--nodes", "0"][..], "--nodes"),
        (&["--nodes", "401"], "--nodes"),
        (&["--shards", "0"], "--shards"),
        (&["--slot-ms", "1"], "--slot-ms"),
        (&["--slot-ms", "600001"], "--slot-ms"),
        (&["--tps", "0", "--duration", "1s"], "--tps"),
        (&["--tps", "5"], "--duration"),
        (&["--tps", "18446744073709551615", "--duration", "1s"], "--tps"),
        (&["--tps", "1000000", "--duration", "100h"], "--duration"),
        (&["--tps", "1000", "--slot-ms", "600000", "--duration", "1s", "--accounts", "0"], "--accounts"),
        (&["--duration", "0s"], "--duration"),
        (&["--duration", "99999999999h"], "--duration"),
        (&["--kill-every", "0"], "--kill-every"),
        (&["--link", "rate=fast"], "--link"),
        (&["--flood", "votes", "--flood-rate", "5", "--duration", "9s"], "--flood-rate"),
    ] {
        let (code, text) = room.devnet(&[&["up"], flags].concat());
        assert!(code == Some(2) && text.contains(named), "{flags:?}: {code:?} {text}");
        assert!(!room.net().exists(), "{flags:?}");
    }
}

#[test]
fn who_watches_sees_payments_in_eighty_columns_and_everything_that_is_told_works() {
    let room = Room::new();
    let begun = Instant::now();
    let mut up = room.up(&[]);
    up.says("begins in ");
    let ready = begun.elapsed();
    up.shows(1);
    let shown = begun.elapsed();
    // On a computer with nothing else to do: 2 s to be ready. Other tests may be at work beside.
    assert!(ready < Duration::from_secs(6) && shown < Duration::from_secs(9), "{ready:?} {shown:?}");
    let try_it = room.text().lines().find_map(|line| line.strip_prefix("try:  ").map(String::from)).unwrap();
    let env = room.net().join("env");
    let line = format!(
        "set -e; {try_it}; . {}; echo $DYNEMIX_NODE; test -f $DYNEMIX_GENESIS; {PROGRAM} devnet faucet carol 3 --dir {}",
        env.display(),
        room.net().display()
    );
    let (code, text) = said(&room.program("bash", &["-c", &line]).current_dir("/").output().unwrap());
    let api = Devnet::read(&room.net()).unwrap().api_address(0);
    assert!(code == Some(0) && text.contains(&format!("http://{api}/")), "{code:?} {text}{}", room.text());
    let (code, text) = room.devnet(&["status"]);
    assert!(code == Some(0) && text.contains("runs since") && text.contains(&api.to_string()), "{text}");
    let (code, text) = room.devnet(&["status", "--json", "-"]);
    let shown: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(code == Some(0) && shown["nodes"][3]["height"].as_u64() > Some(1), "{shown}");
    let (code, text) = room.devnet(&["logs", "--node", "1"]);
    assert!(code == Some(0) && !text.is_empty() && !text.starts_with("node01"), "{text}");
    let (code, text) = room.devnet(&["logs"]);
    assert!(code == Some(0) && text.contains("node03  "), "{text}");
    let (code, text) = room.devnet(&["logs", "--node", "4"]);
    assert!(code == Some(2) && text.contains("--node 4"), "{text}");
    up.signal(Signal::INT);
    let (status, text) = (up.ends(), room.text());
    assert!(status.success(), "{status}: {text}");
    let rows: Vec<Vec<&str>> =
        text.lines().filter(|line| line.ends_with('%')).map(|line| line.split_whitespace().collect()).collect();
    let payments: u64 = rows.iter().map(|row| row[3].parse::<u64>().unwrap()).sum();
    assert_eq!(payments, 2, "{text}");
    assert!(text.contains("2 payments of users, "), "{text}");
    let long = text.lines().filter(|line| !line.contains('/')).find(|line| line.chars().count() > 80);
    assert_eq!(long, None, "{text}");
}

#[test]
fn what_is_made_for_a_while_goes_with_its_process_or_with_the_next() {
    let room = Room::new();
    let temporary = room.directory.path().join("tmp");
    fs::create_dir(&temporary).unwrap();
    let left = || fs::read_dir(&temporary).unwrap().count();
    let start = |arguments: &[&str]| {
        let mut command = room.command(arguments);
        let null = || Stdio::null();
        let child = command.env("TMPDIR", &temporary).stdout(null()).stderr(null()).spawn().unwrap();
        let end = Instant::now() + PATIENCE;
        while left() == 0 {
            assert!(Instant::now() < end, "nothing is made for a while");
            std::thread::sleep(Duration::from_millis(10));
        }
        std::thread::sleep(Duration::from_millis(700));
        child
    };
    let bench = ["bench", "engine", "--accounts", "2000", "--seconds", "30", "--slot-ms", "200"];
    let devnet = ["devnet", "up", "--nodes", "1", "--tps", "50", "--duration", "60s", "--slot-ms", "1000"];
    for arguments in [&bench[..], &devnet] {
        let mut child = start(arguments);
        signal(child.id(), Signal::INT);
        child.wait().unwrap();
        assert_eq!(left(), 0, "{arguments:?} is interrupted");
        let mut child = start(arguments);
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id())).unwrap_or_default();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(left(), 1, "{arguments:?} is killed");
        // The generator of a bench has nobody to measure for any more; nodes wait for `down`.
        let lives = |pid: &str| !fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default().is_empty();
        let end = Instant::now() + Duration::from_secs(5);
        while arguments == bench && children.split_whitespace().any(lives) {
            assert!(Instant::now() < end, "{children} goes on");
            std::thread::sleep(Duration::from_millis(20));
        }
        let mut child = start(arguments);
        assert_eq!(left(), 1, "the next has removed what the one before left");
        assert!(room.node_pids().len() <= 1, "and has ended its nodes");
        signal(child.id(), Signal::INT);
        child.wait().unwrap();
        assert_eq!((left(), room.node_pids()), (0, Vec::new()));
    }
    assert!(Path::new(&temporary).exists());
}

#[test]
fn a_stopped_devnet_goes_into_one_file_and_goes_on_from_it() {
    let room = Room::new();
    let file = room.directory.path().join("net.tar.gz");
    let file = file.to_str().unwrap();
    let mut up = room.up(&SMALL);
    up.shows(2);
    let (code, text) = room.devnet(&["dump", file]);
    assert!(code == Some(5) && text.contains("devnet down") && !Path::new(file).exists(), "{code:?} {text}");
    up.signal(Signal::INT);
    up.ends();
    let height_in = |text: &str, before: &str| {
        let rest = text.split(before).nth(1).unwrap_or_else(|| panic!("no '{before}': {text}"));
        rest.split_whitespace().next().unwrap().parse::<u64>().unwrap()
    };
    let height = height_in(&room.text(), "equal at height ");
    let (code, text) = room.devnet(&["dump", file]);
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = room.devnet(&["dump", file]);
    assert!(code == Some(1) && text.contains("net.tar.gz"), "it is not written over: {text}");
    let (code, text) = room.devnet(&["load", file]);
    assert!(code == Some(1) && text.contains("holds a devnet already"), "{text}");
    assert_eq!(room.devnet(&["reset"]).0, Some(0));
    let (code, text) = room.devnet(&["load", file]);
    assert!(code == Some(0) && text.contains("devnet up --nodes 2 --shards 2 --slot-ms 1000 --dir"), "{text}");
    let mut up = room.up(&SMALL);
    up.shows(2);
    up.signal(Signal::INT);
    assert!(up.ends().success());
    assert!(height_in(&room.text(), "equal at height ") >= height + 2, "{}", room.text());
    // What is no such file leaves nothing behind.
    assert_eq!(room.devnet(&["reset"]).0, Some(0));
    fs::write(room.directory.path().join("thesis.txt"), "mine").unwrap();
    let foreign = room.directory.path().join("foreign.tar.gz");
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(room.directory.path()).arg("-czf").arg(&foreign).arg("thesis.txt");
    assert!(tar.status().unwrap().success());
    let (code, text) = room.devnet(&["load", foreign.to_str().unwrap()]);
    assert!(code == Some(1) && text.contains("'thesis.txt' is in it") && !room.net().exists(), "{text}");
    let whole = fs::read(file).unwrap();
    fs::write(&foreign, &whole[..whole.len() / 2]).unwrap();
    let (code, text) = room.devnet(&["load", foreign.to_str().unwrap()]);
    assert!(code == Some(1) && text.contains("foreign.tar.gz") && !room.net().exists(), "{text}");
}
