//! Cables between nodes on one machine that a test can pull. A node is told to others by the address of its cable, which carries
//! bytes to where it listens. From a pulled cable comes nothing, and what is sent into it is not even refused.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::{sleep, spawn};
use std::time::Duration;

/// How soon a pump sees that a cable was pulled.
const LOOK: Duration = Duration::from_millis(10);

/// The cables of a cluster; clones are of the same.
#[derive(Clone, Default)]
pub(crate) struct Cables {
    pulled: Arc<Mutex<BTreeSet<String>>>,
    processes: Arc<Mutex<BTreeMap<u32, String>>>,
}

impl Cables {
    /// Lays a cable to the node that listens at `port`, and answers the port at which others find it.
    pub(crate) fn lay(&self, name: &str, port: u16) -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let entry = listener.local_addr().unwrap().port();
        let (cables, name) = (self.clone(), name.to_owned());
        spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let Ok(far) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else {
                    continue;
                };
                cables.connect(&name, entry, near, far);
            }
        });
        entry
    }

    /// Whose process this is: its own connections go through its cable too.
    pub(crate) fn belongs(&self, process: u32, name: &str) {
        self.processes
            .lock()
            .unwrap()
            .insert(process, name.to_owned());
    }

    pub(crate) fn pull(&self, name: &str) {
        self.pulled.lock().unwrap().insert(name.to_owned());
    }

    pub(crate) fn put_back(&self, name: &str) {
        self.pulled.lock().unwrap().remove(name);
    }

    fn connect(&self, to: &str, entry: u16, near: TcpStream, far: TcpStream) {
        let from = near.peer_addr().map_or(0, |address| address.port());
        let ends = Arc::new(Ends {
            cables: self.clone(),
            to: to.to_owned(),
            from: Mutex::new(None),
            ports: (from, entry),
        });
        for (from, to) in [
            (near.try_clone().unwrap(), far.try_clone().unwrap()),
            (far, near),
        ] {
            let ends = Arc::clone(&ends);
            spawn(move || pump(&ends, from, to));
        }
    }

    /// The node whose process holds the socket with these ports.
    fn owner(&self, (local, remote): (u16, u16)) -> Option<String> {
        let table = fs::read_to_string("/proc/net/tcp").ok()?;
        let port = |column: Option<&str>| {
            let (_, port) = column?.split_once(':')?;
            u16::from_str_radix(port, 16).ok()
        };
        let socket = table.lines().find_map(|line| {
            let mut columns = line.split_whitespace().skip(1);
            let ports = (port(columns.next())?, port(columns.next())?);
            (ports == (local, remote)).then(|| columns.nth(6))?
        })?;
        let socket = format!("socket:[{socket}]");
        let processes = self.processes.lock().unwrap();
        let owner = processes.iter().find(|(process, _)| {
            let files = fs::read_dir(format!("/proc/{process}/fd"));
            let links = files.into_iter().flatten().flatten();
            links
                .filter_map(|file| fs::read_link(file.path()).ok())
                .any(|link| link.to_str() == Some(socket.as_str()))
        });
        owner.map(|(_, name)| name.clone())
    }
}

/// Whose cables a connection goes through.
struct Ends {
    cables: Cables,
    to: String,
    from: Mutex<Option<String>>,
    ports: (u16, u16),
}

impl Ends {
    fn are_apart(&self) -> bool {
        let pulled = self.cables.pulled.lock().unwrap().clone();
        if pulled.is_empty() {
            return false;
        }
        let mut from = self.from.lock().unwrap();
        if from.is_none() {
            *from = self.cables.owner(self.ports);
        }
        pulled.contains(&self.to) || from.as_ref().is_some_and(|from| pulled.contains(from))
    }

    fn wait(&self) {
        while self.are_apart() {
            sleep(LOOK);
        }
    }
}

/// Carries bytes one way, for as long as both ends live.
fn pump(ends: &Ends, mut from: TcpStream, mut to: TcpStream) {
    from.set_read_timeout(Some(LOOK)).unwrap();
    to.set_nodelay(true).unwrap();
    let mut bytes = vec![0; 64 * 1024];
    loop {
        ends.wait();
        match from.read(&mut bytes) {
            Ok(0) => break,
            Ok(count) => {
                // It may have been pulled while nothing came: then this is still on its way.
                ends.wait();
                if to.write_all(&bytes[..count]).is_err() {
                    break;
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => break,
        }
    }
    for end in [from, to] {
        // It may be closed already.
        let _ = end.shutdown(Shutdown::Both);
    }
}
