package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-contract-api-go/v2/contractapi"
)

// AssetTransfer has the asset-transfer functions and what else the conformance tests need.
type AssetTransfer struct {
	contractapi.Contract
}

// Asset has its fields in the order of their names, so that every endorser writes the same bytes.
type Asset struct {
	AppraisedValue int    `json:"AppraisedValue"`
	Color          string `json:"Color"`
	ID             string `json:"ID"`
	Owner          string `json:"Owner"`
	Size           int    `json:"Size"`
}

// Page is one page of a range.
type Page struct {
	Records             []*Asset `json:"records"`
	FetchedRecordsCount int32    `json:"fetchedRecordsCount"`
	Bookmark            string   `json:"bookmark"`
}

// Change is one entry of a key's history.
type Change struct {
	Record    *Asset    `json:"record"`
	TxID      string    `json:"txId"`
	Timestamp time.Time `json:"timestamp"`
	IsDelete  bool      `json:"isDelete"`
}

// InitLedger writes the first assets.
func (*AssetTransfer) InitLedger(ctx contractapi.TransactionContextInterface) error {
	for _, asset := range []Asset{
		{300, "blue", "asset1", "Tomoko", 5},
		{400, "red", "asset2", "Brad", 5},
		{500, "green", "asset3", "Jin Soo", 10},
		{600, "yellow", "asset4", "Max", 10},
		{700, "black", "asset5", "Adriana", 15},
		{800, "white", "asset6", "Michel", 15},
	} {
		if err := put(ctx, &asset); err != nil {
			return err
		}
	}
	return nil
}

func put(ctx contractapi.TransactionContextInterface, asset *Asset) error {
	value, err := json.Marshal(asset)
	if err != nil {
		return err
	}
	return ctx.GetStub().PutState(asset.ID, value)
}

func putWithEvent(ctx contractapi.TransactionContextInterface, event string, asset *Asset) error {
	value, err := json.Marshal(asset)
	if err != nil {
		return err
	}
	if err := ctx.GetStub().SetEvent(event, value); err != nil {
		return err
	}
	return ctx.GetStub().PutState(asset.ID, value)
}

// CreateAsset writes a new asset.
func (c *AssetTransfer) CreateAsset(ctx contractapi.TransactionContextInterface, id, color string, size int, owner string, appraisedValue int) error {
	exists, err := c.AssetExists(ctx, id)
	if err != nil {
		return err
	}
	if exists {
		return fmt.Errorf("the asset %s already exists", id)
	}
	return putWithEvent(ctx, "CreateAsset", &Asset{appraisedValue, color, id, owner, size})
}

// ReadAsset returns an asset.
func (*AssetTransfer) ReadAsset(ctx contractapi.TransactionContextInterface, id string) (*Asset, error) {
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

// UpdateAsset overwrites an asset.
func (c *AssetTransfer) UpdateAsset(ctx contractapi.TransactionContextInterface, id, color string, size int, owner string, appraisedValue int) error {
	if _, err := c.ReadAsset(ctx, id); err != nil {
		return err
	}
	return putWithEvent(ctx, "UpdateAsset", &Asset{appraisedValue, color, id, owner, size})
}

// DeleteAsset removes an asset.
func (c *AssetTransfer) DeleteAsset(ctx contractapi.TransactionContextInterface, id string) error {
	asset, err := c.ReadAsset(ctx, id)
	if err != nil {
		return err
	}
	value, err := json.Marshal(asset)
	if err != nil {
		return err
	}
	if err := ctx.GetStub().SetEvent("DeleteAsset", value); err != nil {
		return err
	}
	return ctx.GetStub().DelState(id)
}

// AssetExists says whether an asset is there.
func (*AssetTransfer) AssetExists(ctx contractapi.TransactionContextInterface, id string) (bool, error) {
	value, err := ctx.GetStub().GetState(id)
	return value != nil, err
}

// TransferAsset changes the owner and returns the old one.
func (c *AssetTransfer) TransferAsset(ctx contractapi.TransactionContextInterface, id, newOwner string) (string, error) {
	asset, err := c.ReadAsset(ctx, id)
	if err != nil {
		return "", err
	}
	oldOwner := asset.Owner
	asset.Owner = newOwner
	return oldOwner, putWithEvent(ctx, "TransferAsset", asset)
}

func collect(iterator shim.StateQueryIteratorInterface) ([]*Asset, error) {
	defer iterator.Close()
	assets := []*Asset{}
	for iterator.HasNext() {
		row, err := iterator.Next()
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

// GetAllAssets returns all of them.
func (c *AssetTransfer) GetAllAssets(ctx contractapi.TransactionContextInterface) ([]*Asset, error) {
	return c.GetAssetsByRange(ctx, "", "")
}

// GetAssetsByRange returns those with start <= id < end.
func (*AssetTransfer) GetAssetsByRange(ctx contractapi.TransactionContextInterface, start, end string) ([]*Asset, error) {
	iterator, err := ctx.GetStub().GetStateByRange(start, end)
	if err != nil {
		return nil, err
	}
	return collect(iterator)
}

// GetAssetsByRangeWithPagination returns one page of them.
func (*AssetTransfer) GetAssetsByRangeWithPagination(ctx contractapi.TransactionContextInterface, start, end string, pageSize int, bookmark string) (*Page, error) {
	iterator, metadata, err := ctx.GetStub().GetStateByRangeWithPagination(start, end, int32(pageSize), bookmark)
	if err != nil {
		return nil, err
	}
	assets, err := collect(iterator)
	if err != nil {
		return nil, err
	}
	return &Page{assets, metadata.FetchedRecordsCount, metadata.Bookmark}, nil
}

// GetAssetHistory returns the changes of an asset, newest first.
func (*AssetTransfer) GetAssetHistory(ctx contractapi.TransactionContextInterface, id string) ([]Change, error) {
	iterator, err := ctx.GetStub().GetHistoryForKey(id)
	if err != nil {
		return nil, err
	}
	defer iterator.Close()
	changes := []Change{}
	for iterator.HasNext() {
		entry, err := iterator.Next()
		if err != nil {
			return nil, err
		}
		change := Change{nil, entry.TxId, entry.Timestamp.AsTime(), entry.IsDelete}
		if !entry.IsDelete {
			change.Record = &Asset{}
			if err := json.Unmarshal(entry.Value, change.Record); err != nil {
				return nil, err
			}
		}
		changes = append(changes, change)
	}
	return changes, nil
}

// CallChaincode calls a function of another chaincode.
func (*AssetTransfer) CallChaincode(ctx contractapi.TransactionContextInterface, name, channel, function, argument string) (string, error) {
	response := ctx.GetStub().InvokeChaincode(name, [][]byte{[]byte(function), []byte(argument)}, channel)
	if response.Status >= shim.ERRORTHRESHOLD {
		return "", fmt.Errorf("%s", response.Message)
	}
	return string(response.Payload), nil
}

// Put writes a value as it is.
func (*AssetTransfer) Put(ctx contractapi.TransactionContextInterface, key, value string) error {
	return ctx.GetStub().PutState(key, []byte(value))
}

// Get returns a value as it is.
func (*AssetTransfer) Get(ctx contractapi.TransactionContextInterface, key string) (string, error) {
	value, err := ctx.GetStub().GetState(key)
	return string(value), err
}

// PutBatch writes numbered keys in one batch.
func (*AssetTransfer) PutBatch(ctx contractapi.TransactionContextInterface, prefix string, count int) error {
	ctx.GetStub().StartWriteBatch()
	for number := range count {
		if err := ctx.GetStub().PutState(fmt.Sprintf("%s%05d", prefix, number), []byte("batched")); err != nil {
			return err
		}
	}
	return ctx.GetStub().FinishWriteBatch()
}

// GetMultiple reads several keys in one message and returns how many are there.
func (*AssetTransfer) GetMultiple(ctx contractapi.TransactionContextInterface, keys []string) (int, error) {
	values, err := ctx.GetStub().GetMultipleStates(keys...)
	found := 0
	for _, value := range values {
		if len(value) > 0 {
			found++
		}
	}
	return found, err
}

// PutPrivate writes the transient field value to a collection.
func (*AssetTransfer) PutPrivate(ctx contractapi.TransactionContextInterface, collection, key string) error {
	transient, err := ctx.GetStub().GetTransient()
	if err != nil {
		return err
	}
	value, ok := transient["value"]
	if !ok {
		return fmt.Errorf("the transient field value is missing")
	}
	return ctx.GetStub().PutPrivateData(collection, key, value)
}

// GetPrivateHash returns the hash of a private value in hex.
func (*AssetTransfer) GetPrivateHash(ctx contractapi.TransactionContextInterface, collection, key string) (string, error) {
	hash, err := ctx.GetStub().GetPrivateDataHash(collection, key)
	return hex.EncodeToString(hash), err
}

// WhoAmI returns the MSP id and the id of the caller.
func (*AssetTransfer) WhoAmI(ctx contractapi.TransactionContextInterface) (string, error) {
	mspID, err := ctx.GetClientIdentity().GetMSPID()
	if err != nil {
		return "", err
	}
	id, err := ctx.GetClientIdentity().GetID()
	return mspID + " " + id, err
}
