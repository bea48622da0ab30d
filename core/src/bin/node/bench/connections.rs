//! The connections of one run.

use super::settings::{Settings, Spread};
use crate::client::{Channel, leader};
use crate::exit::Failure;

/// At least one connection, dealt to the clients in turn.
pub(super) struct Connections(Vec<Channel>);

impl Connections {
    pub(super) async fn open(settings: &Settings) -> Result<Self, Failure> {
        let endpoints = match settings.spread {
            Spread::Everywhere => settings.endpoints.clone(),
            Spread::LeaderOnly => {
                vec![settings.endpoints[leader(&settings.endpoints).await?].clone()]
            }
        };
        let mut channels = Vec::with_capacity(settings.connections);
        for endpoint in endpoints.iter().cycle().take(settings.connections) {
            channels.push(Channel::connect(endpoint).await?);
        }
        Ok(Self(channels))
    }

    /// The connection of client number `client`.
    pub(super) fn of(&self, client: usize) -> &Channel {
        &self.0[client % self.0.len()]
    }
}
