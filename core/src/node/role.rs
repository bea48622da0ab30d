//! Takes up the log when the node becomes a standby, and lays it down when it becomes a spare.
//!
//! What the directory says (`holds_log`) changes between the two: it is written after the stores are made and before they are
//! removed, so that a log which is missing although the directory promises one is always an accident. So it is if the node votes
//! already: nobody votes before he holds all of the log, and thus the directory was put back to when the node was a spare. And so
//! it is if the leader has heard it acknowledge entries: a standby's log begins empty once, and a leader that counts on what is
//! gone sends only what follows, for ever.

use std::sync::Arc;

use super::NodeError;
use super::inner::Inner;
use crate::membership::Role;
use crate::raft::replica::{Replica, Stores};
use crate::runtime::buggify::stumble;
use crate::runtime::{Event, Runtime};

impl<R: Runtime> Inner<R> {
    /// Does what the member view says that this node's role asks for, whenever the view changes.
    pub(super) async fn follow_role(self: Arc<Self>) {
        let mut views = self.view().subscribe();
        let mut troubled = false;
        loop {
            if let Err(error) = self.fit_role().await {
                tracing::error!(%error, "the node cannot take up its role; it tries again");
                self.replica().set_trouble(Some(error.to_string()));
                troubled = true;
                R::sleep(self.replica().timing().request_timeout()).await;
                continue;
            }
            // The role may have become another one meanwhile, which asks for nothing.
            if std::mem::take(&mut troubled) {
                self.replica().set_trouble(None);
            }
            if views.changed().await.is_err() {
                return;
            }
        }
    }

    async fn fit_role(&self) -> Result<(), NodeError> {
        let _stores = self.hold_stores().await;
        let view = self.view().get();
        let row = view.members.get(&self.who().node);
        let Some(role) = row.and_then(|row| Role::from_stored(row.role)) else {
            return Ok(());
        };
        match (role.receives_log(), self.holds_log()) {
            (true, false) if role == Role::Voter => {
                Err(self.lacks_its_log("voter found to be without a log"))
            }
            (true, false) => self.take_up_log().await,
            // They could not be opened the first time.
            (true, true) if self.stores_are_new() => self.open_new_stores().await,
            (false, true) => self.lay_down_log().await,
            _ => Ok(()),
        }
    }

    /// The directory was put back to when the node was a spare.
    fn lacks_its_log(&self, path: &'static str) -> NodeError {
        R::observe(|| Event::Recovered { path });
        self.note_outdated().into()
    }

    async fn take_up_log(&self) -> Result<(), NodeError> {
        let view = self.view().get();
        let (leader, index) = (view.leader.ok_or(NodeError::Unasked)?, view.index);
        let counted_on = self.replica().is_counted_on(leader).await;
        if counted_on.ok_or(NodeError::Unasked)? {
            return Err(self.lacks_its_log("standby found to be without a log"));
        }
        tracing::info!("this node holds data from now on");
        // Those of an earlier role may not have been removed.
        self.directory().remove_stores()?;
        Replica::<R>::make_stores(self.replica().place())?;
        stumble!(R, "buggify/role.stores-made");
        self.set_stores_are_new(true);
        self.note_new_log(index)?;
        self.open_new_stores().await
    }

    async fn open_new_stores(&self) -> Result<(), NodeError> {
        self.replica().start(Stores::New).await?;
        self.set_stores_are_new(false);
        Ok(())
    }

    async fn lay_down_log(&self) -> Result<(), NodeError> {
        tracing::info!("this node is a spare from now on, and holds no data");
        let view = self.view().get();
        let row = view.members.get(&self.who().node);
        self.set_stores_are_new(false);
        self.note_holds_log(false)?;
        R::observe(|| Event::LogGivenUp);
        stumble!(R, "buggify/role.log-given-up");
        self.replica().close().await;
        if row.is_some_and(|row| row.leaving) {
            self.directory().keep_state()?;
        }
        self.directory().remove_stores()?;
        Ok(())
    }
}
