//! The program that started this process, if it starts several at once: `mpirun` or `srun`.

/// A launcher of several processes, and this process's place among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Launcher {
    /// The variable that gives the number of processes.
    pub variable: &'static str,
    /// This process's number, from 0.
    pub rank: usize,
    /// Number of processes.
    pub size: usize,
}

/// The variables of the number of processes and of this process's number. Slurm also sets
/// `SLURM_NTASKS` and `SLURM_PROCID` for the script of an allocation, whose programs run alone;
/// only `srun` sets the number of tasks of a step.
const VARIABLES: [[&str; 2]; 5] = [
    ["OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"],
    ["PMI_SIZE", "PMI_RANK"],
    ["MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_RANK"],
    ["MPI_LOCALNRANKS", "MPI_LOCALRANKID"],
    ["SLURM_STEP_NUM_TASKS", "SLURM_PROCID"],
];

impl Launcher {
    /// Returns the launcher that the environment describes; `None` if this process was started
    /// otherwise.
    pub fn detect() -> Option<Self> {
        Self::from(|name| std::env::var(name).ok())
    }

    /// Returns the launcher that these variables describe.
    fn from(variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let number = |name: &str| variable(name)?.trim().parse::<usize>().ok();
        VARIABLES.into_iter().find_map(|[size, rank]| {
            Some(Self {
                variable: size,
                size: number(size)?,
                rank: number(rank)?,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detect(variables: &[(&str, &str)]) -> Option<(usize, usize)> {
        let value = |name: &str| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Launcher::from(value).map(|launcher| (launcher.rank, launcher.size))
    }

    #[test]
    fn mpirun_and_srun_are_recognized_but_not_a_script_in_an_allocation() {
        let openmpi = [("OMPI_COMM_WORLD_SIZE", "4"), ("OMPI_COMM_WORLD_RANK", "3")];
        assert_eq!(detect(&openmpi), Some((3, 4)));
        assert_eq!(
            detect(&[("PMI_SIZE", "2"), ("PMI_RANK", "1")]),
            Some((1, 2))
        );
        let step = [("SLURM_STEP_NUM_TASKS", "8"), ("SLURM_PROCID", "5")];
        assert_eq!(detect(&step), Some((5, 8)));
        let script = [("SLURM_NTASKS", "8"), ("SLURM_PROCID", "0")];
        assert_eq!(detect(&script), None);
        assert_eq!(detect(&[("PMI_SIZE", "2")]), None);
        assert_eq!(detect(&[("PMI_SIZE", "two"), ("PMI_RANK", "1")]), None);
    }
}
