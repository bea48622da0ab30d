//! `quorate recover`: a survivor of a lost quorum goes on alone.

use crate::admin::commands::{Target, span};
use crate::exit::{Context, Exit, Failure};
use crate::say::say;
use clap::Args;
use quorate::directory::Directory;
use quorate::node::recover::{Extent, Heard, Patient, RecoverError, Survivor, judge};
use quorate::runtime::Runtime as _;
use quorate::runtime::tokio::TokioRuntime;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The long help of `quorate recover`.
pub(crate) const ABOUT: &str = "\
When most voters are lost for good, go on with this node's copy of the data alone.

Stop the node first. Without --yes nothing is changed: the command shows how far this copy goes, asks the other members that still run, and says \
whether it would go on. Run it on every survivor and recover the one with the highest term and index; name what the others showed with \
--other, so that an older copy is refused.

With --yes it keeps a copy of the directory, begins a new epoch of the cluster with this node as its only member, adds 1,000,000,000 \
to the revision and compacts everything before, so that watchers list again, and prints the line with which the others come back (`quorate join LINE --wipe`).

What was acknowledged and never reached this node is lost. And this cannot stop an old majority that still runs somewhere from serving its own \
clients: make sure that the others are down. They can never mix with the new cluster.";

/// `quorate recover`
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    target: Target,
    /// What another survivor's `quorate recover` showed; AGE, if given, is how long ago it was last written, as in 90s or 5m.
    #[arg(long, value_name = "NAME=TERM:INDEX[@AGE]", value_parser = other)]
    other: Vec<Other>,
    /// Do it.
    #[arg(long)]
    yes: bool,
}

/// What is known of a survivor on another machine.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Other {
    name: String,
    extent: Extent,
    age: Option<Duration>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let data_dir = &arguments.target.data_dir;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.context(Exit::Failed, "starting the runtime")?;
    runtime.block_on(async {
        let directory = Directory::new(TokioRuntime::disk(), data_dir.clone());
        let mut patient = Patient::<TokioRuntime>::examine(directory).map_err(refusal)?;
        let heard = patient.ask_others().await.map_err(refusal)?;
        show(patient.survivor(), &heard, &arguments.other, data_dir);
        let others = arguments.other.iter();
        let others: Vec<_> = others.map(|other| (other.name.clone(), other.extent)).collect();
        judge(patient.survivor(), &heard, &others).map_err(refusal)?;
        if !arguments.yes {
            say!("\nNothing was changed. To go on with this copy, run the same with --yes.");
            return Ok(());
        }
        let kept = keep_copy(data_dir).context(Exit::DataDirectory, "keeping a copy")?;
        say!("\nA copy of what was here is in {}.", kept.display());
        let recovered = patient.recover().map_err(refusal)?;
        say!(
            "This node is the only member of epoch {}; the revision is {}.",
            recovered.epoch, recovered.revision
        );
        if recovered.new_authority {
            say!("There was no signing key here: the cluster has a new certificate authority, and clients need new certificates.");
        }
        say!("Start it with `quorate start --existing`. Then, on each of the others:\n");
        say!("quorate join {} --wipe", recovered.line.encode());
        Ok(())
    })
}

fn show(survivor: &Survivor, heard: &[Heard], given: &[Other], data_dir: &Path) {
    let Extent { term, index } = survivor.extent;
    let age = last_written(data_dir);
    let row = |name: &str, term: &str, index: &str, rest: &str| {
        say!("{name:20}  {term:>6}  {index:>10}  {rest}");
    };
    row("NODE", "TERM", "INDEX", "");
    let here = format!(
        "here: revision {}, last written {}",
        survivor.revision,
        age.map_or_else(|| "unknown".to_owned(), ago)
    );
    row(
        &survivor.inhabitant.name,
        &term.to_string(),
        &index.to_string(),
        &here,
    );
    for (node, name) in &survivor.others {
        let answer = heard.iter().find(|heard| heard.node == *node);
        let told = given.iter().find(|given| given.name == *name);
        match (answer.map(|heard| heard.extent), told) {
            (Some(Some(extent)), _) => row(
                name,
                &extent.term.to_string(),
                &extent.index.to_string(),
                "answers: it runs",
            ),
            (Some(None), _) => row(name, "-", "-", "answers, and holds no data"),
            (None, Some(given)) => row(
                name,
                &given.extent.term.to_string(),
                &given.extent.index.to_string(),
                &given.age.map_or_else(
                    || "as given".to_owned(),
                    |age| format!("as given: last written {}", ago(age)),
                ),
            ),
            (None, None) => row(name, "?", "?", "does not answer"),
        }
    }
    if !survivor.holds_signer {
        say!(
            "This node does not hold the cluster's signing key: a new certificate authority would be made."
        );
    }
    let age = age.map_or_else(String::new, |age| format!("@{}s", age.as_secs()));
    let name = &survivor.inhabitant.name;
    say!("\nTo the other survivors' recover this copy is --other {name}={term}:{index}{age}");
}

fn last_written(data_dir: &Path) -> Option<Duration> {
    let written = ["log.db", "log.db-wal"].iter().filter_map(|name| {
        let metadata = fs::metadata(data_dir.join(name)).ok()?;
        metadata.modified().ok()
    });
    SystemTime::now().duration_since(written.max()?).ok()
}

fn ago(span: Duration) -> String {
    match span.as_secs() {
        seconds @ 0..120 => format!("{seconds} s ago"),
        seconds @ 120..7_200 => format!("{} min ago", seconds / 60),
        seconds => format!("{} h ago", seconds / 3_600),
    }
}

/// Copies the files of the directory beside it.
fn keep_copy(data_dir: &Path) -> std::io::Result<PathBuf> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let stamp = now.unwrap_or_default().as_secs();
    // "." has no name, and what lies beside it would lie in it.
    let data_dir = fs::canonicalize(data_dir)?;
    let mut name = data_dir.file_name().unwrap_or_default().to_owned();
    name.push(format!(".before-recovery-{stamp}"));
    let copy = data_dir.with_file_name(name);
    std::os::unix::fs::DirBuilderExt::mode(&mut fs::DirBuilder::new(), 0o700).create(&copy)?;
    for entry in fs::read_dir(&data_dir)? {
        let entry = entry?;
        let space = entry.file_name() == "reserve";
        if entry.file_type()?.is_file() && !space {
            let to = copy.join(entry.file_name());
            fs::copy(entry.path(), &to)?;
            fs::File::open(&to)?.sync_all()?;
        }
    }
    fs::File::open(&copy)?.sync_all()?;
    Ok(copy)
}

fn other(typed: &str) -> Result<Other, String> {
    let parsed = || {
        let (name, rest) = typed.rsplit_once('=')?;
        let (extent, age) = match rest.split_once('@') {
            Some((extent, age)) => (extent, Some(span(age).ok()?)),
            None => (rest, None),
        };
        let (term, index) = extent.split_once(':')?;
        let (term, index) = (term.parse().ok()?, index.parse().ok()?);
        (!name.is_empty()).then(|| Other {
            name: name.to_owned(),
            extent: Extent { term, index },
            age,
        })
    };
    parsed().ok_or_else(|| {
        format!("{typed:?} is not NAME=TERM:INDEX or NAME=TERM:INDEX@AGE, as in b=7:1234@90s")
    })
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the shape that map_err wants"
)]
fn refusal(error: RecoverError) -> Failure {
    let exit = match &error {
        RecoverError::Older { .. } | RecoverError::Alive { .. } => Exit::Refused,
        RecoverError::Node(_) | RecoverError::NoData(_) => Exit::DataDirectory,
        RecoverError::State(_) => Exit::Failed,
    };
    Failure::new(exit, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_survivor_showed_is_read() {
        let with = |age| Other {
            name: "b".to_owned(),
            extent: Extent { term: 7, index: 12 },
            age,
        };
        assert_eq!(other("b=7:12"), Ok(with(None)));
        assert_eq!(other("b=7:12@5m"), Ok(with(Some(Duration::from_secs(300)))));
        for typed in [
            "", "b", "b=7", "=7:12", "b=x:1", "b=1:-1", "b=7:12@", "b=7:12@5",
        ] {
            assert!(other(typed).is_err(), "{typed}");
        }
    }

    #[test]
    fn the_copy_lies_beside_the_directory_however_it_was_named() {
        let parent = tempfile::tempdir().unwrap();
        let data = parent.path().join("data");
        fs::create_dir_all(data.join("inner")).unwrap();
        fs::write(data.join("log.db"), "log").unwrap();
        for named in [data.clone(), data.join("."), data.join("inner/..")] {
            let copy = keep_copy(&named).unwrap();
            assert_eq!(
                copy.parent(),
                Some(parent.path().canonicalize().unwrap().as_path())
            );
            assert_eq!(fs::read(copy.join("log.db")).unwrap(), b"log");
            fs::remove_dir_all(copy).unwrap();
        }
    }
}
