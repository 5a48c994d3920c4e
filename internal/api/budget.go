package api

// QueryBudgets and QueryRegistrationBudget ask for the bounds in force; the latter is answered by the EEB.
const (
	QueryBudgets            = "budgets"             // struct{} -> Budgets
	QueryRegistrationBudget = "registration-budget" // struct{} -> RegistrationBudget
)

// The kinds of Budget.
const (
	BudgetAll       = "disconnect"
	BudgetOperator  = "operator"
	BudgetFeeder    = "feeder"
	BudgetReconnect = "reconnect"
)

// Budgets are the bounds that the centre works within, as its flags set them, and what is left of them.
type Budgets struct {
	ApproveFrom   int                 `json:"approveFrom" doc:"From how many meters on, disconnected by one person within an hour, another person has to approve it; 0: never."`
	Breakers      []Budget            `json:"breakers" doc:"Budgets of breaker commands, docs/commands.md: each one that is set, then those of operators and feeders of which the least is left, at most 100."`
	Backfill      BackfillBudget      `json:"backfill"`
	Registrations *RegistrationBudget `json:"registrations,omitempty" doc:"Missing where the role eeb does not answer."`
	Calls         CallBudget          `json:"calls"`
}

// Budget bounds how many meters may be switched: so many at once, and as many again in the span, little by little.
type Budget struct {
	Kind    string   `json:"kind" enum:"disconnect,operator,feeder,reconnect"`
	Name    string   `json:"name,omitempty" doc:"The operator or the feeder; none: what holds for each."`
	Meters  int      `json:"meters"`
	Seconds int64    `json:"seconds"`
	Left    *float64 `json:"left,omitempty" doc:"Missing where the budget is one of each operator or feeder."`
	Held    bool     `json:"held,omitempty" doc:"In quarantine."`
}

// BackfillBudget bounds how many meters are asked at once for what is missing.
type BackfillBudget struct {
	Off             bool    `json:"off,omitempty"`
	PerConcentrator int     `json:"perConcentrator"`
	Total           int     `json:"total"`
	PartsPerSecond  float64 `json:"partsPerSecond,omitempty" doc:"Of load profiles below one concentrator; missing: no bound."`
	InFlight        int     `json:"inFlight"`
	Waiting         int     `json:"waiting"`
}

// RegistrationBudget bounds how many registrations below one concentrator are acknowledged.
type RegistrationBudget struct {
	AtOnce      float64 `json:"atOnce"`
	PerSecond   float64 `json:"perSecond"`
	Waiting     int     `json:"waiting" doc:"Below all concentrators."`
	MostWaiting int     `json:"mostWaiting"`
}

// CallBudget bounds what one caller of the API may ask for.
type CallBudget struct {
	PerSecond float64 `json:"perSecond,omitempty" doc:"Missing: no bound."`
	AtOnce    int     `json:"atOnce,omitempty"`
	Streams   int     `json:"streams" doc:"Live streams of all callers; half of them may be of one."`
}
