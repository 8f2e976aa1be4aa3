//! `kontiki member`: the servers of a cluster, and who goes.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::answer;
use crate::compose::{Listed, Members, Membership, Role, run};
use crate::failure::{Code, Failure, Step};

/// Verbs of `kontiki member`.
#[derive(Debug, Subcommand)]
pub(super) enum Member {
    /// The servers: number, address, role, and how long each has been silent if the leader is asked.
    List {
        #[command(flatten)]
        way: Way,
        /// How they are shown.
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// Take a server out of the cluster, running or lost. Refused if those that are left could not go on.
    Remove {
        /// Its number, address or host.
        member: String,
        #[command(flatten)]
        way: Way,
    },
    /// Take a server out once another has joined and votes.
    Replace {
        /// The number, address or host of the one that goes.
        member: String,
        /// The number, address or host of the one that comes; it is started with `kontiki server --join`.
        #[arg(long)]
        with: String,
        /// Seconds it may take to join and catch up.
        #[arg(long, default_value_t = 120)]
        timeout: u64,
        #[command(flatten)]
        way: Way,
    },
}

/// Whom to ask, and with what.
#[derive(Debug, Args)]
pub(super) struct Way {
    /// A server of the cluster.
    #[arg(long, default_value = "https://127.0.0.1:6443", value_name = "URL")]
    server: String,
    /// Where a server of this host keeps its data; its join-token is shown.
    #[arg(long, default_value = "/var/lib/kontiki")]
    data_dir: PathBuf,
    /// The token, if it lies elsewhere.
    #[arg(long, env = "KONTIKI_TOKEN_FILE")]
    token_file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Output {
    Table,
    Json,
}

impl Member {
    pub(super) fn run(self) -> Result<(), Failure> {
        run(async {
            match self {
                Self::List { way, output } => list(&way.members()?, output).await,
                Self::Remove { member, way } => {
                    let members = way.members()?;
                    let leaving = known(&members.list().await?, &member)?;
                    remove(&members, &leaving).await
                }
                Self::Replace { member, with, timeout, way } => {
                    let members = way.members()?;
                    let leaving = known(&members.list().await?, &member)?;
                    let coming = members.joined(&with, Duration::from_secs(timeout)).await?;
                    if coming.id == leaving.id {
                        return Err(Failure::new(Code::Usage, "a server does not replace itself"));
                    }
                    remove(&members, &leaving).await
                }
            }
        })
    }
}

impl Way {
    fn members(&self) -> Result<Members, Failure> {
        let token = self.token_file.clone().unwrap_or_else(|| self.data_dir.join("server/join-token"));
        Members::at(&self.server, &token)
    }
}

fn known(membership: &Membership, name: &str) -> Result<Listed, Failure> {
    membership.find(name).cloned().ok_or_else(|| {
        Failure::new(Code::NotFound, format!("{name} is no server of this cluster"))
            .fix("kontiki member list")
    })
}

async fn list(members: &Members, output: Output) -> Result<(), Failure> {
    let membership = members.list().await?;
    match output {
        Output::Table => answer(&table(&membership)),
        Output::Json => answer(&serde_json::to_string_pretty(&membership).step("cannot write the servers")?),
    }
}

async fn remove(members: &Members, leaving: &Listed) -> Result<(), Failure> {
    members.remove(leaving).await?;
    let voters = members.list().await?.voters();
    answer(&format!(
        "{} at {} is no server of this cluster any more; {voters} are left and {} may be lost",
        leaving.id,
        leaving.address,
        voters.saturating_sub(1) / 2,
    ))
}

fn table(membership: &Membership) -> String {
    let row = |member: &Listed| {
        let role = match member.role {
            Role::Leader => "leader",
            Role::Voter => "voter",
            Role::Learner => "learner",
        };
        let silent = member.silent_seconds.map_or("-".to_owned(), |seconds| format!("{seconds}s"));
        [member.id.clone(), member.address.clone(), role.to_owned(), silent]
    };
    let head = ["ID", "ADDRESS", "ROLE", "SILENT"].map(str::to_owned);
    let rows: Vec<[String; 4]> = [head].into_iter().chain(membership.members.iter().map(row)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or_default();
    let widths = [width(0), width(1), width(2)];
    let line = |[id, address, role, silent]: &[String; 4]| {
        let [one, two, three] = widths;
        format!("{id:<one$}   {address:<two$}   {role:<three$}   {silent}")
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_shown_in_columns() {
        let listed = |id: &str, host: u8, role, silent_seconds| Listed {
            id: id.into(),
            address: format!("10.0.0.{host}:6444"),
            role,
            silent_seconds,
        };
        let membership = Membership {
            members: vec![
                listed("1", 11, Role::Leader, None),
                listed("80224", 12, Role::Voter, Some(0)),
                listed("906", 13, Role::Learner, Some(71)),
            ],
        };
        let expected = "\
ID      ADDRESS          ROLE      SILENT
1       10.0.0.11:6444   leader    -
80224   10.0.0.12:6444   voter     0s
906     10.0.0.13:6444   learner   71s";
        assert_eq!(table(&membership), expected);
    }
}
