//! What is applied and not yet committed, and how a reader comes to see it.
//!
//! A commit of SQLite costs each page that it changed, twice, and most puts change the same few: the end of `history`, the
//! counters. So the state is committed rarely, in the transaction that [`Batch::hold`](crate::state::Batch::hold) keeps
//! open, and a client is answered as soon as its command is applied. What must not happen is that it then reads and does
//! not find what it wrote (T22): whoever reads the state asks [`Unseen::show`] first.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::ids::Revision;
use crate::runtime::{Runtime, Worker as _, watch};
use crate::state::{State, StateError};

/// What is applied is committed after so long at the latest, read or not: an idle node has nothing left to write.
const LONGEST: Duration = Duration::from_secs(1);

/// The part of the state that readers do not see yet.
pub struct Unseen<R: Runtime> {
    state: Arc<Mutex<State>>,
    worker: R::Worker,
    facts: Arc<Facts>,
    /// Counts what was held, for the task that commits in the end.
    held: watch::Sender<u64>,
}

/// Changed under the state's lock.
struct Facts {
    /// Something is held. Stays set when it could not be committed.
    holding: AtomicBool,
    /// What was held could not be committed.
    lost: AtomicBool,
    revision: AtomicI64,
}

impl<R: Runtime> Clone for Unseen<R> {
    fn clone(&self) -> Self {
        Self {
            state: Arc::clone(&self.state),
            worker: self.worker.clone(),
            facts: Arc::clone(&self.facts),
            held: self.held.clone(),
        }
    }
}

impl<R: Runtime> Unseen<R> {
    /// Watches over `state`, whose writer is `worker`.
    pub fn new(state: Arc<Mutex<State>>, worker: R::Worker) -> Self {
        let revision = lock(&state).revision().0;
        let facts = Arc::new(Facts {
            holding: AtomicBool::new(false),
            lost: AtomicBool::new(false),
            revision: AtomicI64::new(revision),
        });
        let (held, seen) = watch::channel(0);
        // It ends when the last `Unseen` is gone, and keeps no state open until then.
        drop(R::spawn(commit_in_the_end::<R>(
            Arc::downgrade(&state),
            worker.clone(),
            Arc::clone(&facts),
            seen,
        )));
        Self {
            state,
            worker,
            facts,
            held,
        }
    }

    /// Runs `job` on the state's worker, and takes note of what it leaves uncommitted.
    pub async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut State) -> T + Send + 'static,
    ) -> T {
        let (state, facts) = (Arc::clone(&self.state), Arc::clone(&self.facts));
        let (answer, holding) = self
            .worker
            .run(move || {
                let mut state = lock(&state);
                let answer = job(&mut state);
                (answer, facts.note(&state))
            })
            .await;
        self.tell(holding);
        answer
    }

    /// Like [`Unseen::run`], for a job that takes a few microseconds: here and now, unless the worker is at something. To
    /// hand it over and hear of its end would cost more than the job.
    pub async fn run_brief<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut State) -> T + Send + 'static,
    ) -> T {
        let answered = match self.state.try_lock() {
            Ok(mut state) => Ok((job(&mut state), self.facts.note(&state))),
            Err(_busy) => Err(job),
        };
        match answered {
            Ok((answer, holding)) => {
                self.tell(holding);
                answer
            }
            Err(job) => self.run(job).await,
        }
    }

    fn tell(&self, holding: bool) {
        if holding {
            self.held.send_if_modified(|held| {
                *held += 1;
                true
            });
        }
    }

    /// Lets readers see everything that is applied.
    ///
    /// # Errors
    /// When it cannot be committed; the state can do nothing more then.
    pub async fn show(&self) -> Result<(), StateError> {
        if !self.is_holding() {
            return Ok(());
        }
        self.run(State::commit_held).await
    }

    /// Whether something is applied that is not committed.
    pub fn is_holding(&self) -> bool {
        self.facts.holding.load(Ordering::SeqCst)
    }

    /// Whether what was applied could not be committed, so that the state can do nothing more.
    pub fn is_lost(&self) -> bool {
        self.facts.lost.load(Ordering::SeqCst)
    }

    /// The revision up to which commands are applied, seen or not.
    pub fn revision(&self) -> Revision {
        Revision(self.facts.revision.load(Ordering::SeqCst))
    }
}

impl Facts {
    /// Answers whether something is held.
    fn note(&self, state: &State) -> bool {
        let (holding, lost) = (state.is_holding(), state.is_lost());
        self.holding.store(holding || lost, Ordering::SeqCst);
        self.lost.store(lost, Ordering::SeqCst);
        self.revision.store(state.revision().0, Ordering::SeqCst);
        holding
    }
}

async fn commit_in_the_end<R: Runtime>(
    state: std::sync::Weak<Mutex<State>>,
    worker: R::Worker,
    facts: Arc<Facts>,
    mut held: watch::Receiver<u64>,
) {
    while held.changed().await.is_ok() {
        R::sleep(LONGEST).await;
        if !facts.holding.load(Ordering::SeqCst) {
            continue;
        }
        let Some(state) = state.upgrade() else {
            return;
        };
        let facts = Arc::clone(&facts);
        let committed = worker.run(move || {
            let mut state = lock(&state);
            let committed = state.commit_held();
            facts.note(&state);
            committed
        });
        if let Err(error) = committed.await {
            // The instance of Raft is ended over it.
            tracing::error!(%error, "what was applied could not be committed");
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
