//! What would become of the wish for a port, check by check, as JSON. Nobody outside is asked: neither the
//! job API nor the target. The checks are those of [`super::Ports::open`], in its order.

use super::job::Question;
use super::{Ports, Wish, full_of, holder, name, own_table};
use crate::clock;
use crate::verdict::Refusal;
use serde_json::{Value, json};

impl Ports {
    /// The refusal that would come, and what led there.
    #[must_use]
    pub fn explain(&self, wish: &Wish<'_>) -> (Option<Refusal>, Value) {
        let now = clock::now();
        let limits = wish.limits();
        let target = wish.target();
        let to = target
            .as_ref()
            .map_or_else(|_| "-".to_owned(), name::written);
        let (own, all) = own_table().map_or((0, 0), |it| it.open_of(holder(wish.grant.identity())));
        let total = self.total();
        let places = own_table().and_then(|table| {
            table
                .room(holder(wish.grant.identity()), wish.max_open, total)
                .map_err(|full| full_of(full, wish, total))
        });
        let mut told = Told::default();
        let of_exp = (
            format!("after {now}"),
            wish.grant.identity().expires().to_string(),
        );
        told.check("exp", of_exp, wish.in_time(now).map(|()| true));
        let few = format!("under {} of the job's, under {total} of all", wish.max_open);
        told.check(
            "places",
            (few, format!("{own} and {all}")),
            places.map(|()| true),
        );
        if wish.job {
            // Only the job itself has its CI_JOB_TOKEN: any text in its place shows what else is missing.
            let question = Question::new(wish.grant.identity(), wish.job_token.or(Some(b"-")));
            let url = question
                .as_ref()
                .map_or_else(|_| "-".to_owned(), |it| it.url().to_owned());
            let wanted = format!("a job that runs, by {url}");
            told.check("job", (wanted, String::new()), question.map(|_| false));
        }
        let wanted = format!("a connection to {to}");
        told.check("target", (wanted, String::new()), target.map(|_| false));
        let value = json!({
            "name": wish.name,
            "target": to,
            "expires": limits.end(now),
            "idle_seconds": wish.idle,
            "checks": told.rows,
        });
        (told.refusal, value)
    }
}

#[derive(Default)]
struct Told {
    rows: Vec<Value>,
    refusal: Option<Refusal>,
}

impl Told {
    /// `outcome`: whether it was asked at all.
    fn check(
        &mut self,
        name: &str,
        (wanted, got): (String, String),
        outcome: Result<bool, Refusal>,
    ) {
        let (result, refusal) = match (&self.refusal, outcome) {
            (Some(_), _) => ("not reached", None),
            (None, Ok(true)) => ("passed", None),
            (None, Ok(false)) => ("not asked", None),
            (None, Err(refusal)) => ("failed", Some(refusal)),
        };
        self.rows.push(json!({
            "check": name,
            "result": result,
            "wanted": wanted,
            "got": if got.is_empty() { Value::Null } else { got.into() },
            "reason": refusal.as_ref().map(|it| it.reason.code()),
            "detail": refusal.as_ref().map(|it| it.detail.as_str()),
        }));
        if refusal.is_some() {
            self.refusal = refusal;
        }
    }
}
