Profile: ProgrammeTask
Parent: Task
Id: programme-task
Title: "One person's way to DXA"
Description: "From the proposal of DXA to its result, or to the reason why there is none."
* identifier 1..*
* obeys trb-identity and trb-task-state and trb-task-state-system and trb-task-focus and trb-task-reason and trb-task-output
* businessStatus 1..1
* businessStatus from CtBoneProgrammeStates (required)
* intent = #proposal
* code 1..1
* code = $action#dxa-confirmation
* focus 1..1
* focus only Reference(DxaServiceRequest)
* for 1..1
* for only Reference(Patient)
* for obeys trb-patient
* authoredOn 1..1
* lastModified 1..1

Profile: AccessAuditEvent
Parent: AuditEvent
Id: access-audit-event
Title: "Access to a result"
Description: "Who read, searched, created or changed what about whom. The pattern of IHE Basic Audit Log Patterns (BALP) 1.1."
* obeys trb-id and trb-audit-patient and trb-audit-action and trb-audit-agent and trb-audit-entity
* type = $audit-type#rest
* subtype 1..*
* action 1..1
* outcome 1..1
* entity 1..*
