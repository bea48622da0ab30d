//! Commands as the README has them, typed into a shell, and what a user sees.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::Failed;

use super::{Server, client, free_address, ready, runtime};

/// The first commands under a heading of the README.
fn block(heading: &str) -> Result<String, Failed> {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = std::fs::read_to_string(readme)?;
    let (_, rest) = readme.split_once(heading).ok_or("no such heading")?;
    let (_, rest) = rest.split_once("```sh\n").ok_or("no commands")?;
    let (block, _) = rest.split_once("```").ok_or("no end")?;
    Ok(block.to_owned())
}

/// Types a line at which `etcdctl` is on the path and talks to this endpoint.
fn typed(line: &str, etcdctl: &Path, endpoint: &str) -> Result<Output, Failed> {
    let directory = etcdctl.parent().ok_or("a program is in a directory")?;
    let path = std::env::var("PATH").unwrap_or_default();
    let said = Command::new("sh")
        .args(["-c", line])
        .env("PATH", format!("{}:{path}", directory.display()))
        .env("ETCDCTL_API", "3")
        .env("ETCDCTL_ENDPOINTS", endpoint)
        .output()?;
    Ok(said)
}

/// What the README promises of its commands, by what they begin with; the others have only to succeed.
const SAID: [(&str, &str); 6] = [
    ("etcdctl put", "OK\n"),
    ("etcdctl get greeting --rev=2", "greeting\nhello\n"),
    ("etcdctl get \"\" --prefix --keys-only", "greeting\n\n"),
    ("etcdctl get \"\" --prefix --sort-by", "greeting\ngoodbye\n"),
    ("printf", "SUCCESS\n\nOK\n"),
    ("etcdctl del", "1\ngreeting\nhi\n"),
];

/// Each line of the README's tour, typed into a shell.
pub(crate) fn the_tour(etcdctl: &Path) -> Result<(), Failed> {
    let tour = block("## A tour with etcdctl")?;
    let server = Server::quorate();
    runtime()?.block_on(async { ready(&mut client(&server.address)).await })?;
    for line in tour.lines() {
        let said = typed(line, etcdctl, &server.address)?;
        let out = String::from_utf8_lossy(&said.stdout);
        let is_promised = SAID
            .iter()
            .filter(|(begins, _)| line.starts_with(begins))
            .all(|(_, promised)| out == *promised);
        if !said.status.success() || !is_promised {
            let errors = String::from_utf8_lossy(&said.stderr);
            return Err(format!("{line}\n{out}{errors}").into());
        }
    }
    let promised = SAID
        .iter()
        .all(|(begins, _)| tour.lines().any(|line| line.starts_with(begins)));
    if !promised {
        return Err("a command that something is promised of is not in the tour".into());
    }
    Ok(())
}

/// What is typed at a real etcd and at three nodes, in turn: what can be said of keys, with several of them there.
const COMPARED: &[&str] = &[
    "etcdctl put fruit/apple 3",
    "etcdctl put fruit/banana 1",
    "etcdctl put fruit/cherry 2",
    "etcdctl put fruit/apple 4 --prev-kv",
    "etcdctl put vegetable/leek 9",
    "etcdctl get fruit/apple",
    "etcdctl get nothing",
    "etcdctl get fruit/ --prefix",
    "etcdctl get fruit/ --prefix --limit=2",
    "etcdctl get fruit/ --prefix --keys-only",
    "etcdctl get fruit/ --prefix --print-value-only",
    "etcdctl get fruit/banana --from-key",
    "etcdctl get fruit/apple fruit/cherry",
    "etcdctl get fruit/ --prefix --sort-by=VALUE",
    "etcdctl get fruit/ --prefix --sort-by=KEY --order=DESCEND",
    "etcdctl get fruit/ --prefix --sort-by=MODIFY --order=DESCEND --limit=2",
    "etcdctl get fruit/ --prefix --sort-by=CREATE --order=ASCEND",
    "etcdctl get fruit/ --prefix --sort-by=VERSION --order=DESCEND --limit=1",
    "etcdctl get fruit/apple --rev=2",
    "etcdctl get fruit/ --prefix --rev=4",
    "etcdctl get fruit/apple --rev=99",
    "printf 'value(\"fruit/apple\") = \"4\"\n\nput fruit/apple 5\nget fruit/apple\n\nget fruit/apple\n\n' | etcdctl txn",
    "printf 'version(\"fruit/apple\") > \"9\"\n\nput fruit/apple 6\n\nget fruit/ --prefix\n\n' | etcdctl txn",
    "printf 'create(\"fruit/date\") = \"0\"\n\nput fruit/date 7\ndel fruit/banana\n\n\n' | etcdctl txn",
    "printf 'mod(\"fruit/date\") = \"8\"\n\ndel fruit/date\n\n\n' | etcdctl txn",
    "printf '\nput twice 1\nput twice 2\n\n\n' | etcdctl txn",
    "etcdctl put '' empty",
    "etcdctl put fruit/apple --ignore-value 2",
    "etcdctl put fruit/apple --ignore-value",
    "etcdctl put fruit/absent --ignore-value",
    "etcdctl del fruit/cherry --prev-kv",
    "etcdctl del nothing",
    "etcdctl compaction 6",
    "etcdctl compaction 6",
    "etcdctl compaction 99",
    "etcdctl get fruit/apple --rev=5",
    "etcdctl get fruit/apple --rev=6",
    "etcdctl del fruit/ --prefix",
    "etcdctl get '' --prefix",
];

/// What somebody sees who types a line: whether it succeeds, its output, and how its last complaint ends.
fn seen(line: &str, etcdctl: &Path, endpoint: &str) -> Result<(bool, String, String), Failed> {
    let said = typed(line, etcdctl, endpoint)?;
    let errors = String::from_utf8_lossy(&said.stderr);
    // Lines of its log name times and endpoints.
    let complaint = errors.lines().rfind(|line| line.starts_with("Error"));
    Ok((
        said.status.success(),
        String::from_utf8_lossy(&said.stdout).into_owned(),
        complaint.unwrap_or_default().to_owned(),
    ))
}

/// The block under "Three nodes", each line as it stands there but for the ports, which may be taken; then [`COMPARED`].
pub(crate) fn the_three_nodes(etcdctl: &Path, etcd: &Path) -> Result<(), Failed> {
    let theirs = Server::etcd(etcd);
    let ours = Formed::as_typed(&block("## Three nodes")?)?;
    runtime()?.block_on(async {
        ready(&mut client(&theirs.address)).await?;
        for endpoint in &ours.endpoints {
            ready(&mut client(endpoint)).await?;
        }
        Ok::<(), Failed>(())
    })?;
    for (line, endpoint) in COMPARED.iter().zip(ours.endpoints.iter().cycle()) {
        let expected = seen(line, etcdctl, &theirs.address)?;
        let answer = seen(line, etcdctl, endpoint)?;
        if expected != answer {
            return Err(format!("{line}\netcd: {expected:#?}\nours: {answer:#?}").into());
        }
    }
    Ok(())
}

/// Three nodes that a shell has started.
struct Formed {
    nodes: Vec<Child>,
    endpoints: Vec<String>,
    directory: tempfile::TempDir,
}

impl Formed {
    fn as_typed(block: &str) -> Result<Self, Failed> {
        let directory = tempfile::tempdir()?;
        let mut formed = Self {
            nodes: Vec::new(),
            endpoints: (0..3).map(|_| free_address()).collect(),
            directory,
        };
        let mut join_line = String::new();
        let lines = block
            .lines()
            .filter(|line| !line.starts_with("cargo build"));
        for line in lines {
            let command = line
                .split_once(" #")
                .map_or(line, |(command, _)| command)
                .trim();
            let mut words: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
            let stays = words.pop_if(|last| last == "&").is_some();
            let program = words.remove(0);
            if program != "./quorate" {
                return Err(format!("no command of ours: {line}").into());
            }
            for word in &mut words {
                match word.as_str() {
                    "LINE" => word.clone_from(&join_line),
                    "127.0.0.1:2389" | "127.0.0.1:2399" => {
                        word.clone_from(&formed.endpoints[formed.nodes.len()]);
                    }
                    address if address.starts_with("127.0.0.1:") => *word = free_address(),
                    _ => {}
                }
            }
            if words[0] == "start" {
                let client = formed.endpoints[0].clone();
                words.extend(["--listen-client".to_owned(), client]);
                words.extend(["--listen-peer".to_owned(), free_address()]);
            }
            if stays {
                let node = formed
                    .quorate(&words)
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .spawn()?;
                formed.nodes.push(node);
                continue;
            }
            let promised = line.split_once("# ").map_or("", |(_, comment)| comment);
            let said = formed.until_it_succeeds(&words, promised)?;
            if words[0] == "add-node" {
                join_line = said
                    .split_whitespace()
                    .last()
                    .unwrap_or_default()
                    .to_owned();
            }
        }
        if formed.nodes.len() != 3 {
            return Err(format!("{} nodes were started", formed.nodes.len()).into());
        }
        Ok(formed)
    }

    fn quorate(&self, words: &[String]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
        command.args(words).current_dir(self.directory.path());
        command
    }

    /// Types a command again until it succeeds, and says that the cluster survives a loss if the README promises that.
    fn until_it_succeeds(&self, words: &[String], promised: &str) -> Result<String, Failed> {
        const PROMISE: &str = "high-availability: yes";
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            let said = self.quorate(words).output()?;
            let out = String::from_utf8_lossy(&said.stdout).into_owned();
            let kept = !promised.starts_with(PROMISE) || out.contains(PROMISE);
            if said.status.success() && kept {
                return Ok(out);
            }
            if Instant::now() > deadline {
                let errors = String::from_utf8_lossy(&said.stderr);
                return Err(format!("{words:?}\n{out}{errors}").into());
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

impl Drop for Formed {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            node.kill().expect("it is our child");
            node.wait().expect("it is our child");
        }
    }
}
