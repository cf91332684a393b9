package main

import (
	"encoding/json"
	"fmt"

	"github.com/hyperledger/fabric-contract-api-go/v2/contractapi"
)

// AssetTransfer keeps things that have an owner.
type AssetTransfer struct {
	contractapi.Contract
}

// Asset has its fields in one fixed order, so that every endorser writes the same bytes.
type Asset struct {
	AppraisedValue int    `json:"AppraisedValue"`
	Color          string `json:"Color"`
	ID             string `json:"ID"`
	Owner          string `json:"Owner"`
	Size           int    `json:"Size"`
}

// GetEvaluateTransactions names what only reads.
func (c *AssetTransfer) GetEvaluateTransactions() []string {
	return []string{"ReadAsset", "AssetExists", "GetAllAssets"}
}

// InitLedger writes two assets to begin with.
func (c *AssetTransfer) InitLedger(ctx contractapi.TransactionContextInterface) error {
	for _, asset := range []Asset{
		{AppraisedValue: 300, Color: "blue", ID: "asset1", Owner: "Tomoko", Size: 5},
		{AppraisedValue: 400, Color: "red", ID: "asset2", Owner: "Brad", Size: 10},
	} {
		if err := write(ctx, "CreateAsset", &asset); err != nil {
			return err
		}
	}
	return nil
}

// CreateAsset writes a new asset.
func (c *AssetTransfer) CreateAsset(ctx contractapi.TransactionContextInterface, id string, color string, size int, owner string, appraisedValue int) error {
	exists, err := c.AssetExists(ctx, id)
	if err != nil {
		return err
	}
	if exists {
		return fmt.Errorf("the asset %s already exists", id)
	}
	return write(ctx, "CreateAsset", &Asset{appraisedValue, color, id, owner, size})
}

// ReadAsset gives an asset.
func (c *AssetTransfer) ReadAsset(ctx contractapi.TransactionContextInterface, id string) (*Asset, error) {
	value, err := ctx.GetStub().GetState(id)
	if err != nil {
		return nil, err
	}
	if value == nil {
		return nil, fmt.Errorf("the asset %s does not exist", id)
	}
	var asset Asset
	if err := json.Unmarshal(value, &asset); err != nil {
		return nil, err
	}
	return &asset, nil
}

// UpdateAsset writes an asset that is there.
func (c *AssetTransfer) UpdateAsset(ctx contractapi.TransactionContextInterface, id string, color string, size int, owner string, appraisedValue int) error {
	if _, err := c.ReadAsset(ctx, id); err != nil {
		return err
	}
	return write(ctx, "UpdateAsset", &Asset{appraisedValue, color, id, owner, size})
}

// TransferAsset changes the owner and gives the one before.
func (c *AssetTransfer) TransferAsset(ctx contractapi.TransactionContextInterface, id string, newOwner string) (string, error) {
	asset, err := c.ReadAsset(ctx, id)
	if err != nil {
		return "", err
	}
	before := asset.Owner
	asset.Owner = newOwner
	return before, write(ctx, "TransferAsset", asset)
}

// DeleteAsset removes an asset.
func (c *AssetTransfer) DeleteAsset(ctx contractapi.TransactionContextInterface, id string) error {
	if _, err := c.ReadAsset(ctx, id); err != nil {
		return err
	}
	return ctx.GetStub().DelState(id)
}

// AssetExists tells whether there is such an asset.
func (c *AssetTransfer) AssetExists(ctx contractapi.TransactionContextInterface, id string) (bool, error) {
	value, err := ctx.GetStub().GetState(id)
	return value != nil, err
}

// GetAllAssets gives all assets.
func (c *AssetTransfer) GetAllAssets(ctx contractapi.TransactionContextInterface) ([]*Asset, error) {
	rows, err := ctx.GetStub().GetStateByRange("", "")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	assets := []*Asset{}
	for rows.HasNext() {
		row, err := rows.Next()
		if err != nil {
			return nil, err
		}
		var asset Asset
		if err := json.Unmarshal(row.Value, &asset); err != nil {
			return nil, err
		}
		assets = append(assets, &asset)
	}
	return assets, nil
}

func write(ctx contractapi.TransactionContextInterface, event string, asset *Asset) error {
	value, err := json.Marshal(asset)
	if err != nil {
		return err
	}
	if err := ctx.GetStub().SetEvent(event, value); err != nil {
		return err
	}
	return ctx.GetStub().PutState(asset.ID, value)
}
