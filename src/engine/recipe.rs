//! The recipe that a station runs against the one that was approved for it. A machine with another recipe prints, reads or packs
//! another product, however well its handshake works: no batch starts on it, and a change while one runs holds the line.
//!
//! Unknown means refuse: a station with an approved recipe that has not shown its own since it joined, or shows one that cannot be
//! read, does not agree. The hold is a level and ends when the approved recipe is back; the alarm asks for a person besides.

use crate::domain::tag::StationId;
use crate::domain::text::{Name, Text};
use crate::engine::Engine;
use crate::engine::fact::Fact;
use crate::engine::output::Step;
use crate::engine::reason::{AlarmKind, BatchState};

/// The name of a recipe, as the machine shows it.
pub type Recipe = Text<64>;

impl Engine {
    pub(super) fn recipe_shown(&mut self, step: &mut Step, station: StationId, recipe: Option<Recipe>) {
        let Some(spec) = self.spec(station) else { return };
        self.with_live(station, |live| live.recipe = recipe);
        if self.known(station).recipe != recipe {
            self.emit(step, Fact::RecipeFound { station: spec.name, recipe });
        }
        let running = self.state.current().is_some_and(|batch| batch.state == BatchState::Running);
        if let Some(approved) = spec.recipe.filter(|approved| running && recipe != Some(*approved)) {
            let shown = recipe.map_or_else(|| "none that can be read".to_owned(), |recipe| recipe.to_string());
            let detail = format!("approved is {approved}, the station shows {shown}");
            self.raise(step, AlarmKind::RecipeDiffers, Some(station), detail);
        }
    }

    /// Whether a station runs what was approved for it; true where nothing was.
    pub(super) fn is_recipe_approved(&self, station: StationId) -> bool {
        let approved = self.spec(station).and_then(|spec| spec.recipe);
        let shown = self.live(station).and_then(|live| live.recipe);
        approved.is_none() || approved == shown
    }

    /// Stations whose recipe keeps a batch from starting.
    pub(super) fn unapproved(&self) -> Vec<Name> {
        let differ = self.ids().filter(|id| !self.is_recipe_approved(*id));
        differ.filter_map(|id| self.spec(id)).map(|spec| spec.name).collect()
    }
}
