package report

import "slices"

// The machine's speed changes under a run, by as much as a half, for seconds or minutes. What is
// compared is therefore first compared within a round, and only then summed up over the rounds.

// spread is the median of some values, and between which values the middle half of them lies.
type spread struct{ low, mid, high float64 }

func spreadOf(values []float64) spread {
	s := slices.Sorted(slices.Values(values))
	return spread{quantile(s, 0.25), quantile(s, 0.5), quantile(s, 0.75)}
}

func median(values []float64) float64 { return spreadOf(values).mid }

// holds reports whether v lies within the middle half.
func (s spread) holds(v float64) bool { return s.low <= v && v <= s.high }

// quantile interpolates between the two nearest values; it is 0 if there are none.
func quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	at := q * float64(len(sorted)-1)
	i := int(at)
	if i+1 == len(sorted) {
		return sorted[i]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}

// byRound returns the row's median time in each round in which it ran.
func (r *Row) byRound() map[int]float64 {
	values := map[int][]float64{}
	for _, s := range r.samples["ns/op"] {
		values[s.round] = append(values[s.round], s.value)
	}
	medians := make(map[int]float64, len(values))
	for round, v := range values {
		medians[round] = median(v)
	}
	return medians
}

// normalised returns the row's times as they would have been on a machine where yardstick takes
// reference ns: each is divided by how much slower the yardstick was in the same round. A round
// without the yardstick goes by all the others.
func (r *Row) normalised(yardstick *Row, reference float64) spread {
	rounds, overall := yardstick.byRound(), yardstick.NS()
	var values []float64
	for _, s := range r.samples["ns/op"] {
		measured := rounds[s.round]
		if measured == 0 {
			measured = overall
		}
		values = append(values, s.value*reference/measured)
	}
	return spreadOf(values)
}

// over returns how many times longer the row took than other: the median of what the rounds
// say that both ran in, or if there are none, of what all samples say.
func (r *Row) over(other *Row) spread {
	mine, theirs := r.byRound(), other.byRound()
	var values []float64
	for round, ns := range mine {
		if theirs[round] > 0 {
			values = append(values, ns/theirs[round])
		}
	}
	if len(values) == 0 && other.NS() > 0 {
		values = []float64{r.NS() / other.NS()}
	}
	return spreadOf(values)
}
