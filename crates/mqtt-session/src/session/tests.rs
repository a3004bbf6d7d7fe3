// Tables of what each packet means in each phase.
